"""The decisive metric by topic as tinted tables: absolute, and as difference from a reference run.

The figure is always printed, and the tint says the same once more: light to strong from bad to
good, and two hues for worse and better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from harness.checkpoints.catalog import find
from harness.metrics.statistics import holm
from harness.run.records import RunRecord
from harness.run.verdicts import LEVEL
from reports.inputs import runs
from reports.inputs.metrics import MetricFormat, decisive
from reports.inputs.paper import PaperTable
from reports.numbers import fixed
from reports.statistics.answers import Answers
from reports.statistics.paired import compared, shared
from reports.statistics.ranks import Pair
from reports.tables import columns
from reports.tables.rows import run_row
from reports.tables.table import Cell, Group, Heading, Row, Table, Tone, missing, table

HEAT: tuple[Tone, ...] = (
    "heat0", "heat1", "heat2", "heat3", "heat4", "heat5", "heat6", "heat7",
)  # fmt: skip
_LOSS: tuple[Tone, ...] = ("loss1", "loss2", "loss3", "loss4")
_GAIN: tuple[Tone, ...] = ("gain1", "gain2", "gain3", "gain4")
Legend = tuple[tuple[Tone, str], ...]
"""What each tint stands for."""
STEPS = (1.0, 5.0, 10.0, 20.0)
"""Percentage points from which a difference gets the next tint."""
SHARES = (0.05, 0.25, 0.5, 0.75)
"""The same for another unit, as shares of the largest difference of the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """A tinted table, and what it is a view of."""

    title: str
    """Of the view: "Accuracy", "Minus Moondream"."""
    table: Table
    legend: Legend


@dataclass(frozen=True, slots=True)
class Heat:
    """The tints of scores: strong is good."""

    worst: float = 0.0
    best: float = 100.0
    """Scores as they are printed; worst is the larger one where less is better."""

    def tone(self, score: float) -> Tone:
        """The tint of a score."""
        span = self.best - self.worst
        place = int((score - self.worst) / span * len(HEAT)) if span else 0
        return HEAT[min(len(HEAT) - 1, max(0, place))]

    @property
    def legend(self) -> Legend:
        width = (self.best - self.worst) / len(HEAT)
        ends = [self.worst + step * width for step in range(len(HEAT) + 1)]
        return tuple(
            (tone, f"{one:.3g}\N{EN DASH}{two:.3g}")
            for tone, (one, two) in zip(HEAT, pairwise(ends), strict=True)
        )


@dataclass(frozen=True, slots=True)
class Changes:
    """The tints of differences."""

    steps: tuple[float, ...] = STEPS
    """Sizes, as they are printed, from which a difference gets the next tint."""
    sign: int = 1
    """-1: less is better."""

    def tone(self, difference: float) -> Tone:
        """The tint of a difference."""
        size = sum(abs(difference) >= step for step in self.steps)
        if not size:
            return "even"
        return (_GAIN if difference * self.sign > 0 else _LOSS)[size - 1]

    @property
    def legend(self) -> Legend:
        most = self.steps[-1]
        down, up = ("\N{MINUS SIGN}", "+")[:: self.sign]
        beyond = {"+": " or more", "\N{MINUS SIGN}": " or less"}
        sides = [
            [
                (tone, f"{sign}{step:.3g}" + beyond[sign] * (step == most))
                for tone, step in zip(tones, self.steps, strict=True)
            ]
            for tones, sign in ((_LOSS, down), (_GAIN, up))
        ]
        even: tuple[Tone, str] = ("even", f"within {self.steps[0]:.3g}")
        return (*reversed(sides[0]), even, *sides[1])


PERCENT, POINTS = Heat(), Changes()


def heat_of(metric: MetricFormat, scores: Iterable[float]) -> Heat:
    """The tints of a metric: of a percentage from 0 to 100, else between the scores that there
    are."""
    found = [0.0, 100.0] if metric.unit == "%" else list(scores) or [0.0]
    return Heat(*sorted((min(found), max(found)), reverse=not metric.higher_is_better))


def changes_of(metric: MetricFormat, differences: Iterable[float]) -> Changes:
    """The tints of a metric's differences."""
    if metric.unit == "%":
        return Changes(sign=metric.sign)
    largest = max(map(abs, differences), default=0.0) or 1.0
    return Changes(tuple(share * largest for share in SHARES), metric.sign)


def run_heatmaps(
    group: Sequence[RunRecord],
    paper: PaperTable | None,
    answers: Mapping[str, Answers],
    *,
    name: str,
) -> list[HeatMap]:
    """The views of some runs on the same questions, best first; none where no run has topics."""
    metric = decisive(group)
    if metric is None or not runs.topics(group, metric.name):
        return []
    overall = columns.metric(metric, *_overall(paper, metric))
    shown = [overall, *columns.by_topic(group, metric, paper)]
    views = [_absolute(group, shown, metric, name=name)]
    reference = next((run for run in group if runs.role(run) == "student"), None)
    base = answers.get(runs.run_id(reference)) if reference else None
    if reference and base and base.metric.is_same(metric) and len(group) > 1:
        headings = {c.key: c.heading for c in shown}
        views.append(_against(reference, group, answers, headings=headings, name=name))
    return views


def _overall(paper: PaperTable | None, metric: MetricFormat) -> tuple[str, str]:
    """Title and meaning of the column of all topics."""
    found = paper.measured if paper else ()
    printed = next((c for c in found if c.metric == metric.name), None)
    return (printed.key, printed.meaning) if printed else ("Overall", "")


def paper_heatmaps(paper: PaperTable, *, name: str) -> list[HeatMap]:
    """The views of the paper's rows."""
    if paper.overall is None:
        return []
    wanted = {paper.overall, *(column.metric for column in paper.topics)}
    topics = [column for column in paper.overall_first if column.metric in wanted]
    headings = [Heading(key=c.metric, title=c.key, meaning=c.meaning, n=c.n) for c in topics]
    views = []
    student = paper.row("moondream")
    for reference in (None, student) if student else (None,):
        rows = []
        for row in paper.rows:
            cells = []
            for column in topics:
                value = float(row.cells[column.metric])
                if reference is None:
                    cells.append(
                        Cell(text=row.cells[column.metric], value=value, tone=PERCENT.tone(value))
                    )
                    continue
                value -= float(reference.cells[column.metric])
                text = fixed(value, 2, sign="+")
                cells.append(Cell(text=text, value=value, tone=POINTS.tone(value)))
            spec = find(row.name)
            rows.append(
                Row(
                    title=row.model,
                    size=row.size,
                    role=spec.role if spec else "",
                    cells=tuple(cells),
                )
            )
        title = f"Minus {reference.model}" if reference else paper.score
        caption = f"{title}, in percentage points" if reference else f"{title} in percent"
        views.append(
            HeatMap(
                title=title,
                table=table(
                    f"{name}-{'change' if reference else 'heat'}",
                    f"{caption}, reported in the paper",
                    headings,
                    groups=[Group(rows=tuple(rows))],
                ),
                legend=(POINTS if reference else PERCENT).legend,
            )
        )
    return views


def _absolute(
    group: Sequence[RunRecord],
    shown: Sequence[columns.Column],
    metric: MetricFormat,
    *,
    name: str,
) -> HeatMap:
    filled = [[column.fill(run) for column in shown] for run in group]
    heat = heat_of(metric, (c.value for cells in filled for c in cells if c.value is not None))
    rows = [
        run_row(
            run,
            [c if c.value is None else replace(c, tone=heat.tone(c.value)) for c in cells],
        )
        for run, cells in zip(group, filled, strict=True)
    ]
    scale = " in percent" if metric.unit == "%" else ""
    return HeatMap(
        title=metric.title,
        table=table(
            f"{name}-heat",
            f"{metric.title}{scale} by topic, each with its 95% interval and n",
            [column.heading for column in shown],
            groups=[Group(rows=tuple(rows))],
        ),
        legend=heat.legend,
    )


def _against(
    reference: RunRecord,
    group: Sequence[RunRecord],
    answers: Mapping[str, Answers],
    *,
    headings: Mapping[str, Heading],
    name: str,
) -> HeatMap:
    title = runs.title(reference)
    base = answers[runs.run_id(reference)]
    metric = base.metric
    others = [run for run in group if run is not reference]
    found = [_changes(base, answers.get(runs.run_id(run)), tuple(headings)) for run in others]
    sizes = [c.difference for each in found for c in each if isinstance(c, Change)]
    tints = changes_of(metric, (size * metric.scale for size in sizes))
    rows = [
        run_row(run, [c if isinstance(c, Cell) else cell(c, metric, tints=tints) for c in each])
        for run, each in zip(others, found, strict=True)
    ]
    unit = "percentage points" if metric.unit == "%" else metric.title
    return HeatMap(
        title=f"Minus {title}",
        table=table(
            f"{name}-change",
            f"Difference from {title} by topic, in {unit}, on the same questions, each "
            "with its 95% interval and n",
            [replace(heading, implied_unit=unit) for heading in headings.values()],
            groups=[Group(rows=tuple(rows))],
        ),
        legend=tints.legend,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How one topic fares in two runs; as fractions, where the metric is printed in percent."""

    difference: float
    """The second minus the first, as its interval is."""
    low: float
    high: float
    n: int
    first: float
    second: float
    """The score of each."""
    p: float
    """Holm's: of a topic over all topics of the two runs, of the whole over all pairs of runs."""
    sign: int = 1
    """-1: less is better."""

    @property
    def certain(self) -> bool:
        return self.p < LEVEL

    @property
    def gain(self) -> float:
        """How much better the second is."""
        return self.difference * self.sign


Tested = Callable[[str, str], Pair | None]
"""Of two runs by their ids: their test among those of all pairs; None: they are in no such test."""


def untested(_first: str, _second: str) -> None:
    """Where no pairs are tested together."""


def changes(first: Answers, second: Answers, tested: Tested = untested) -> dict[str, Change]:
    """Topic -> what the second run makes of the questions that both answered; the whole under "",
    topics from the most questions to the fewest. None where they are scored by other metrics."""
    if not first.metric.is_same(second.metric):
        return {}
    parts: dict[str, list[str]] = {}
    common = shared(first.scored, second.scored)
    for key in common:
        parts.setdefault(first.topics.get(key, "") or "no topic", []).append(key)
    topics = sorted(parts, key=lambda topic: (-len(parts[topic]), topic))
    found = {}
    for topic, keys in [("", common), *((topic, parts[topic]) for topic in topics)]:
        if change := _change(first, second, keys):
            found[topic] = change
    measured = [topic for topic in topics if topic in found]
    corrected = holm([found[topic].p for topic in measured])
    for topic, p in zip(measured, corrected, strict=True):
        found[topic] = replace(found[topic], p=p)
    pair = tested(first.run, second.run)
    if pair and pair.p is not None and "" in found:
        found[""] = replace(found[""], p=pair.p)
    return found


def _change(first: Answers, second: Answers, keys: Sequence[str]) -> Change | None:
    """What the second run makes of some questions that both answered, its p uncorrected; None: of
    none, or undefined."""
    d, one, two = compared(first.scored, second.scored, keys) if keys else (None, 0.0, 0.0)
    if d is None:
        return None
    return Change(
        difference=d.difference,
        low=d.low,
        high=d.high,
        n=d.n,
        first=one,
        second=two,
        p=1.0 if d.p is None else d.p,
        sign=first.metric.sign,
    )


def cell(found: Change, metric: MetricFormat, *, tints: Changes) -> Cell:
    """A difference as a tinted cell."""
    size = found.difference * metric.scale
    return Cell(
        text=metric.difference(found.difference),
        value=size,
        interval=metric.ends(found.low, found.high),
        low=found.low * metric.scale,
        high=found.high * metric.scale,
        n=found.n,
        tone=tints.tone(size),
    )


def _changes(base: Answers, found: Answers | None, keys: Sequence[str]) -> list[Change | Cell]:
    """The difference for each column, or a dash."""
    if found is None:
        return [missing("its predictions are missing")] * len(keys)
    by_topic = changes(base, found)
    named = {base.metric.name: by_topic.get("")}
    named |= {f"{base.metric.name}/{topic}": each for topic, each in by_topic.items() if topic}
    return [
        (_others(base, found, keys) if key == "other" else named.get(key))
        or missing("no question of this topic in both runs, or the score is undefined")
        for key in keys
    ]


def _others(base: Answers, found: Answers, keys: Sequence[str]) -> Change | Cell:
    """All topics without a column of their own, taken for one."""
    known = {key.partition("/")[2] for key in keys}
    rest = {key for key, topic in base.topics.items() if topic not in known}
    common = shared(base.scored, found.scored) if base.metric.is_same(found.metric) else []
    each = _change(base, found, [key for key in common if key in rest])
    return each or missing("no question of another topic in both runs")
