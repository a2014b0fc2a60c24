"""Accuracy by topic as tinted tables: absolute, and as difference from a reference run.

The figure is always printed, and the tint says the same once more: light to strong from 0 to 100%,
and two hues for worse and better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.checkpoints.catalog import find
from harness.metrics.statistics import holm
from harness.run.compare import accuracies
from harness.run.records import RunRecord
from reports.inputs import runs
from reports.inputs.paper import PaperTable
from reports.numbers import fixed
from reports.statistics.answers import Answers
from reports.statistics.ranks import LEVEL
from reports.statistics.sanity import ACCURACY
from reports.tables import columns
from reports.tables.rows import run_row
from reports.tables.table import Cell, Group, Heading, Row, Table, Tone, missing, table

HEAT: tuple[Tone, ...] = (
    "heat0", "heat1", "heat2", "heat3", "heat4", "heat5", "heat6", "heat7",
)  # fmt: skip
_LOSS: tuple[Tone, ...] = ("loss1", "loss2", "loss3", "loss4")
_GAIN: tuple[Tone, ...] = ("gain1", "gain2", "gain3", "gain4")
STEPS = (1.0, 5.0, 10.0, 20.0)
"""Percentage points from which a difference gets the next tint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """A tinted table, and what it is a view of."""

    title: str
    """Of the view: "Accuracy", "Minus Moondream"."""
    table: Table
    kind: str
    """heat or change: which legend belongs to it."""


LEGENDS: Mapping[str, tuple[tuple[Tone, str], ...]] = {
    "heat": tuple(
        (tone, f"{100 * step / len(HEAT):g}\N{EN DASH}{100 * (step + 1) / len(HEAT):g}")
        for step, tone in enumerate(HEAT)
    ),
    "change": (
        *(
            (tone, f"\N{MINUS SIGN}{step:g} or less" if step == 20 else f"\N{MINUS SIGN}{step:g}")
            for tone, step in zip(reversed(_LOSS), reversed(STEPS), strict=True)
        ),
        ("even", f"within {STEPS[0]:g}"),
        *(
            (tone, f"+{step:g}" + " or more" * (step == 20))
            for tone, step in zip(_GAIN, STEPS, strict=True)
        ),
    ),
}


def heat(percent: float) -> Tone:
    """The tint of an accuracy."""
    return HEAT[min(len(HEAT) - 1, max(0, int(percent / 100 * len(HEAT))))]


def change(points: float) -> Tone:
    """The tint of a difference in percentage points."""
    size = sum(abs(points) >= step for step in STEPS)
    if not size:
        return "even"
    return (_GAIN if points > 0 else _LOSS)[size - 1]


def run_heatmaps(
    group: Sequence[RunRecord],
    paper: PaperTable | None,
    answers: Mapping[str, Answers],
    *,
    name: str,
) -> list[HeatMap]:
    """The views of some runs on the same questions, best first; none where no run has topics."""
    shown = [c for c in columns.accuracy(group, paper) if c.kind != "strip"]
    if not runs.topics(group):
        return []
    views = [_absolute(group, shown, name=name)]
    reference = next((run for run in group if runs.role(run) == "student"), None)
    if reference is not None and len(group) > 1 and runs.run_id(reference) in answers:
        views.append(
            _against(
                reference,
                group,
                answers,
                headings={c.key: c.heading for c in shown},
                name=name,
            )
        )
    return views


def paper_heatmaps(paper: PaperTable, *, name: str) -> list[HeatMap]:
    """The views of the paper's rows."""
    topics = [c for c in paper.columns if c.metric.startswith(ACCURACY)]
    topics.sort(key=lambda column: column.metric != ACCURACY)
    if len(topics) < 2:
        return []
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
                    cells.append(Cell(text=row.cells[column.metric], value=value, tone=heat(value)))
                    continue
                value -= float(reference.cells[column.metric])
                text = fixed(value, 2, sign="+")
                cells.append(Cell(text=text, value=value, tone=change(value)))
            spec = find(row.name)
            rows.append(
                Row(
                    title=row.model,
                    size=row.size,
                    role=spec.role if spec else "",
                    cells=tuple(cells),
                )
            )
        title = f"Minus {reference.model}" if reference else "Accuracy"
        caption = f"{title}, in percentage points" if reference else "Accuracy in percent"
        views.append(
            HeatMap(
                title=title,
                table=table(
                    f"{name}-{'change' if reference else 'heat'}",
                    f"{caption}, reported in the paper",
                    headings,
                    groups=[Group(rows=tuple(rows))],
                ),
                kind="change" if reference else "heat",
            )
        )
    return views


def _absolute(group: Sequence[RunRecord], shown: Sequence[columns.Column], *, name: str) -> HeatMap:
    rows = []
    for run in group:
        cells = [column.fill(run) for column in shown]
        tinted = [
            cell if cell.value is None else replace(cell, tone=heat(cell.value)) for cell in cells
        ]
        rows.append(run_row(run, tinted))
    return HeatMap(
        title="Accuracy",
        table=table(
            f"{name}-heat",
            "Accuracy in percent by topic, each with its 95% interval and n",
            [column.heading for column in shown],
            groups=[Group(rows=tuple(rows))],
        ),
        kind="heat",
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
    rows = []
    for run in group:
        if run is reference:
            continue
        found = answers.get(runs.run_id(run))
        rows.append(run_row(run, _changes(base, found, tuple(headings))))
    return HeatMap(
        title=f"Minus {title}",
        table=table(
            f"{name}-change",
            f"Difference from {title} by topic, in percentage points, on the same questions, each "
            "with its 95% interval and n",
            [replace(heading, implied_unit="percentage points") for heading in headings.values()],
            groups=[Group(rows=tuple(rows))],
        ),
        kind="change",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How one topic fares in two runs."""

    difference: float
    """The second minus the first, in percentage points, as its interval is."""
    low: float
    high: float
    n: int
    first: int
    second: int
    """Right answers of each, out of n."""
    p: float
    """Holm's, over all topics of the two runs; of the whole by itself."""

    @property
    def certain(self) -> bool:
        return self.p < LEVEL


def changes(first: Answers, second: Answers) -> dict[str, Change]:
    """Topic -> what the second run makes of the questions that both answered; the whole under "",
    topics from the most questions to the fewest."""
    parts: dict[str, list[str]] = {}
    shared = [key for key in first.scored.scores if key in second.scored.scores]
    for key in shared:
        parts.setdefault(first.topics.get(key, "") or "no topic", []).append(key)
    topics = sorted(parts, key=lambda topic: (-len(parts[topic]), topic))
    found = {}
    for topic, keys in [("", shared), *((topic, parts[topic]) for topic in topics)]:
        if keys:
            right = [(first.scored.scores[key] > 0, second.scored.scores[key] > 0) for key in keys]
            clusters = [first.scored.clusters.get(key, key) for key in keys]
            d, _ = accuracies(right, clusters)
            found[topic] = Change(
                difference=d.difference * 100,
                low=d.low * 100,
                high=d.high * 100,
                n=len(keys),
                first=sum(one for one, _ in right),
                second=sum(two for _, two in right),
                p=1.0 if d.p is None else d.p,
            )
    corrected = holm([found[topic].p for topic in topics])
    for topic, p in zip(topics, corrected, strict=True):
        found[topic] = replace(found[topic], p=p)
    return found


def cell(found: Change) -> Cell:
    """A difference as a tinted cell."""
    ends = (fixed(end, 1, sign="+") for end in (found.low, found.high))
    return Cell(
        text=fixed(found.difference, 2, sign="+"),
        value=found.difference,
        interval=" to ".join(ends),
        low=found.low,
        high=found.high,
        n=found.n,
        tone=change(found.difference),
    )


def _changes(base: Answers, found: Answers | None, keys: Sequence[str]) -> list[Cell]:
    if found is None:
        return [missing("its predictions are missing")] * len(keys)
    by_topic = changes(base, found)
    named = {ACCURACY: by_topic.get("")}
    named |= {f"{runs.TOPIC}{topic}": each for topic, each in by_topic.items() if topic}
    cells = []
    for key in keys:
        if key == "other":
            cells.append(_others(base, found, keys))
            continue
        each = named.get(key)
        cells.append(cell(each) if each else missing("no question of this topic in both runs"))
    return cells


def _others(base: Answers, found: Answers, keys: Sequence[str]) -> Cell:
    """All topics without a column of their own, taken for one."""
    known = {key.removeprefix(runs.TOPIC) for key in keys}
    rest = {key: "other" if topic not in known else "" for key, topic in base.topics.items()}
    each = changes(replace(base, topics=rest), found).get("other")
    return cell(each) if each else missing("no question of another topic in both runs")
