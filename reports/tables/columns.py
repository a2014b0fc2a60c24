"""The columns of the tables of measured runs. A column is one line: its heading and its filling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.core.types import Value
from harness.metrics.statistics import wilson
from harness.run.records import RunRecord
from reports.inputs import runs, sanitize
from reports.inputs.metrics import NOTHING_FOUND, MetricFormat, formats
from reports.inputs.paper import PaperTable
from reports.numbers import fixed, interval, significant
from reports.statistics.ranks import Rank
from reports.statistics.sanity import Finding
from reports.tables.table import Cell, Heading, Kind, Strip, missing

MAX_TOPICS = 10
"""Topics with a column of their own, where the paper does not name them."""
MAX_METRICS = 20
"""Columns for metrics, those of the paper aside; all figures stand in the provenance."""

Fill = Callable[[RunRecord], Cell]


@dataclass(frozen=True, slots=True)
class Column:
    """A column and how a run fills it."""

    key: str
    """The metric that it shows; findings about that metric are marked in it."""
    title: str
    fill: Fill
    meaning: str = ""
    unit: str = ""
    implied_unit: str = ""
    """The unit where the table's caption says it."""
    lower_is_better: bool = False
    kind: Kind = "number"
    is_detail: bool = False
    """Only the page's full view shows it."""

    @property
    def heading(self) -> Heading:
        ascending = self.lower_is_better or self.kind == "text"
        return Heading(
            key=self.key,
            title=self.title,
            meaning=self.meaning,
            unit=self.unit,
            implied_unit=self.implied_unit,
            kind=self.kind,
            is_detail=self.is_detail,
            best="ascending" if ascending else "descending",
        )


# What fills a cell


def score(shown: MetricFormat, figure: str = "") -> Fill:
    """The figure of a metric, or its figure in a topic, with its interval and its n."""
    name = figure or shown.name

    def fill(run: RunRecord) -> Cell:
        found = runs.figure(run, name)
        if found.value is None:
            return missing(found.note)
        own = formats([run]).get(shown.name)
        if own and not own.is_same(shown):
            return missing(f"its metric of this name is another one: {own.in_full}")
        return _scored(shown, found, findings=runs.caveats(found, name))

    return fill


def _scored(shown: MetricFormat, found: Value, findings: tuple[Finding, ...] = ()) -> Cell:
    assert found.value is not None
    low, high = shown.printed(found.low), shown.printed(found.high)
    return Cell(
        text=shown.number(found.value),
        findings=findings,
        value=found.value * shown.scale,
        interval=interval(low, high, shown.interval_digits),
        low=low,
        high=high,
        n=found.n or None,
    )


def rank(ranks: Mapping[str, Rank]) -> Fill:
    """The rank of a run among those that answered the same questions."""

    def fill(run: RunRecord) -> Cell:
        found = ranks.get(runs.run_id(run))
        if found is None:
            return missing("no other run answered the same questions, or predictions are missing")
        places = [str(found.best), str(found.worst)][: 1 if found.certain else 2]
        # Of two runs with the same best place the one with the better worst place comes first.
        return Cell(text="\N{EN DASH}".join(places), value=found.best + found.worst / 1000)

    return fill


def strip(shown: MetricFormat, paper: PaperTable | None) -> Fill:
    """A percentage drawn, with chance, and with what the paper has for the same model."""

    def fill(run: RunRecord) -> Cell:
        found = runs.figure(run, shown.name)
        if found.value is None:
            return Cell(text="", kind="strip")
        guessed = runs.chance(run) if shown.is_share else None
        value, low, high, chance = (
            None if part is None else min(max(part * 100, 0.0), 100.0)
            for part in (found.value, found.low, found.high, guessed)
        )
        assert value is not None
        # A miniature has nothing to do with the paper's model of the same name.
        row = paper.row(str(run.model.name)) if paper and not runs.label(run) else None
        printed = row.cells.get(shown.name) if row else None
        reported = float(printed) if printed else None
        drawn = Strip(value=value, low=low, high=high, chance=chance, reported=reported)
        return Cell(text="", kind="strip", strip=drawn)

    return fill


def other_topics(shown: MetricFormat, figures: Sequence[str]) -> Fill:
    """The score over all topics but those of these figures."""

    def fill(run: RunRecord) -> Cell:
        names = [name for name in runs.topics([run], shown.name) if name not in figures]
        found = [value for name in names if (value := runs.figure(run, name)).value is not None]
        n = sum(value.n for value in found)
        if not n:
            return missing("the run has no question of another topic")
        if not shown.is_share:
            return _scored(shown, _pooled(found, n))
        right = sum(round(value.value * value.n) for value in found if value.value is not None)
        if not 0 <= right <= n:
            return missing("the figures of these topics are not between 0 and 1")
        return share_cell(right, n)

    return fill


def _pooled(found: Sequence[Value], n: int) -> Value:
    """The mean over several topics. Its interval is made from theirs (MOVER; Zou and Donner 2008):
    topics are independent of each other."""
    mean = sum((value.value or 0.0) * value.n for value in found) / n
    ends = []
    for side in ("low", "high"):
        known = [
            value.n * (end - value.value)
            for value in found
            if value.value is not None and (end := getattr(value, side)) is not None
        ]
        half = math.hypot(*known) / n if len(known) == len(found) else None
        ends.append(half)
    low, high = ends
    return Value(
        value=mean,
        n=n,
        low=None if low is None else mean - low,
        high=None if high is None else mean + high,
    )


def share_cell(count: int, n: int, *, also: str = "") -> Cell:
    """A share in percent, with Wilson's interval."""
    low, high = (end * 100 for end in wilson(count, n))
    share = count / n * 100
    return Cell(
        text=fixed(share, 2),
        value=share,
        interval=interval(low, high, 1),
        low=low,
        high=high,
        n=n,
        also=also,
    )


def timed(*keys: str, per: float = 1, n: bool = False) -> Fill:
    """An entry of the record's timing divided by `per`; `n`: with the samples that were timed."""

    def fill(run: RunRecord) -> Cell:
        found = runs.timing(run, *keys)
        if found is None:
            return missing("not timed, or not available on that machine")
        count = sanitize.whole(runs.timing(run, "timed_samples")) if n else None
        findings = runs.timing_caveats(run, keys[-1])
        return Cell(text=significant(found / per), findings=findings, value=found / per, n=count)

    return fill


def peak(run: RunRecord) -> Cell:
    """The memory that is needed to run the model."""
    for key in ("device", "process"):
        cell = timed("peak_memory_bytes", key, per=2**30)(run)
        if cell.value is not None:
            return replace(cell, also="" if key == "device" else "main memory")
    return cell


def counted(name: str) -> Fill:
    """A number of the record's counts."""

    def fill(run: RunRecord) -> Cell:
        count = sanitize.whole(getattr(run.counts, name))
        if count is None:
            return missing("the record has no number here")
        return Cell(text=f"{count:,}", value=count)

    return fill


def cut(run: RunRecord) -> Cell:
    """The share of answers that the token limit cut."""
    count = sanitize.whole(run.counts.cut)
    answered = (sanitize.whole(run.counts.done) or 0) - (sanitize.whole(run.counts.failed) or 0)
    if count is None or not 0 <= count <= answered or not answered:
        return missing("the predictions have no finish reasons")
    return share_cell(count, answered)


def setting(*keys: str) -> Fill:
    """The first of the keys that the environment or the settings have."""

    def fill(run: RunRecord) -> Cell:
        for source in (run.environment, run.settings):
            for key in keys:
                if found := sanitize.text(sanitize.mapping(source).get(key), limit=60):
                    return Cell(text=found, kind="text")
        return missing("the record has no such entry", kind="text")

    return fill


# The columns

MINUTES = Column(
    "inference_minutes",
    "Time",
    timed("inference_minutes"),
    "inference, without loading and warm-up",
    "min",
    lower_is_better=True,
)

OUTCOMES = (
    Column(
        NOTHING_FOUND,
        "Unparsed",
        score(MetricFormat(name=NOTHING_FOUND, unit="%", higher_is_better=False)),
        "answers that no rule can parse; they count as wrong",
        "%",
        lower_is_better=True,
    ),
    Column(
        "cut",
        "Cut",
        cut,
        "answers cut at the token limit",
        "%",
        lower_is_better=True,
    ),
    Column(
        "failed",
        "Failed",
        counted("failed"),
        "questions without an answer; excluded from all metrics",
        lower_is_better=True,
    ),
    Column(
        "beyond_context",
        "Too long",
        counted("beyond_context"),
        "failed questions whose prompt exceeds the model's context length",
        lower_is_better=True,
    ),
    Column(
        "truncated",
        "Shortened",
        counted("truncated"),
        "questions shortened to fit the model's context length",
        lower_is_better=True,
    ),
)


def _seconds(key: str, meaning: str) -> Column:
    fill = timed("seconds_per_sample", key, n=True)
    return Column(key, "s/question", fill, meaning, key, lower_is_better=True)


def _memory(key: str, meaning: str) -> Column:
    fill = timed("peak_memory_bytes", key, per=2**30)
    return Column(key, f"Peak, {key}", fill, meaning, "GiB", lower_is_better=True)


COST = (
    MINUTES,
    _seconds("p50", "median"),
    _seconds("p90", "90th percentile"),
    _seconds("p99", "99th percentile"),
    Column("tokens_per_second", "tokens/s", timed("tokens_per_second"), "generated tokens"),
    _memory("device", "accelerator memory"),
    _memory("process", "main memory"),
    Column("load", "Load", timed("load_seconds"), "loading the weights", "s", lower_is_better=True),
    Column("energy", "Energy", timed("energy_joules", per=3600), "", "Wh", lower_is_better=True),
    Column("on", "Device", setting("device", "cpu"), kind="text"),
    Column("dtype", "dtype", setting("dtype"), "data type of the weights", kind="text"),
    Column("batch_size", "Batch", setting("batch_size"), "questions per batch", kind="text"),
)


def ranked(ranks: Mapping[str, Rank], by: str) -> Column:
    """The column of rank intervals, `by` what runs were compared."""
    return Column(
        "rank",
        "Rank",
        rank(ranks),
        f"paired tests of {by}, Holm correction at 5%; the ranks of a range are not separable",
        lower_is_better=True,
    )


PACE = (
    _seconds("p50", "median"),
    Column(
        "tokens_per_second",
        "tokens/s",
        timed("tokens_per_second"),
        "generated tokens",
        is_detail=True,
    ),
    Column(
        "memory",
        "Memory",
        peak,
        "peak accelerator memory, or main memory without an accelerator",
        "GiB",
        lower_is_better=True,
        is_detail=True,
    ),
)
"""What a question costs, in short; all of it is in COST."""


def metric(shown: MetricFormat, title: str = "", meaning: str | None = None) -> Column:
    """The column of a metric, by its own title unless another is given."""
    return Column(
        shown.name,
        title or shown.title,
        score(shown),
        shown.meaning if meaning is None else meaning,
        shown.unit,
        lower_is_better=not shown.higher_is_better,
    )


def renamed(column: Column, key: str, *, title: str = "", fill: Fill | None = None) -> Column:
    """A column like another one, of other figures."""
    return replace(column, key=key, title=title or column.title, fill=fill or column.fill)


def scale(shown: MetricFormat, paper: PaperTable | None) -> tuple[Column, ...]:
    """The picture of a percentage; none of another number, whose ends nobody knows."""
    if shown.unit != "%":
        return ()
    return (Column("strip", "On a scale from 0 to 100%", strip(shown, paper), kind="strip"),)


def by_topic(
    group: Sequence[RunRecord], shown: MetricFormat, paper: PaperTable | None
) -> list[Column]:
    """A metric by topic: the paper's topics where most questions are of them, else the largest of
    the data; and all the others together, where they are not most and the metric has a mean over
    them."""
    if paper and not paper.topics:
        return []
    sizes = runs.topics(group, shown.name)
    columns = [
        _topic(shown, column.metric, column.key, column.meaning)
        for column in (paper.topics if paper else ())
        if column.metric in sizes
    ]
    if not _most(columns, sizes):
        columns = [_topic(shown, name, runs.topic(name)) for name in list(sizes)[:MAX_TOPICS]]
    figures = [column.key for column in columns]
    has_rest = set(sizes) - set(figures) and _most(columns, sizes)
    if has_rest and shown.scope in ("sample", "group"):
        fill = other_topics(shown, figures)
        columns.append(replace(_topic(shown, "other", "Other", "all other topics"), fill=fill))
    return columns


def _most(columns: Sequence[Column], sizes: Mapping[str, int]) -> bool:
    """Whether at least half of all questions are of the topics of these columns."""
    return 2 * sum(sizes[column.key] for column in columns) >= sum(sizes.values())


def _topic(shown: MetricFormat, figure: str, title: str, meaning: str = "") -> Column:
    return Column(
        figure,
        title,
        score(shown, figure),
        meaning,
        implied_unit=shown.unit,
        lower_is_better=not shown.higher_is_better,
    )
