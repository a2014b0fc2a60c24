"""The columns of the tables of measured runs. A column is one line: its heading and its filling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from harness.metrics.statistics import wilson
from harness.run.records import RunRecord
from reports.inputs import runs, sanitize
from reports.inputs.paper import PaperTable
from reports.numbers import fixed, interval, significant
from reports.statistics.ranks import Rank
from reports.statistics.sanity import ACCURACY
from reports.tables.table import Cell, Heading, Kind, Strip, missing

MAX_TOPICS = 7
"""Topics with a column of their own, where the paper does not name them: as many as in Table 1."""
MAX_OWN_METRICS = 12
"""Columns for metrics that this page does not know; all figures stand in the provenance."""

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
    lower_is_better: bool = False
    kind: Kind = "number"

    @property
    def heading(self) -> Heading:
        ascending = self.lower_is_better or self.kind == "text"
        return Heading(
            key=self.key,
            title=self.title,
            meaning=self.meaning,
            unit=self.unit,
            implied_unit="%" if self.key.startswith(runs.TOPIC) or self.key == "other" else "",
            kind=self.kind,
            best="ascending" if ascending else "descending",
        )


# What fills a cell


def score(metric: str, *, scale: int = 1, digits: int = 4) -> Fill:
    """The figure `metric`, `scale` times, with its interval and its n."""

    def fill(run: RunRecord) -> Cell:
        found = runs.figure(run, metric)
        if found.value is None:
            return missing(found.note)
        low, high = (end if end is None else end * scale for end in (found.low, found.high))
        return Cell(
            text=fixed(found.value * scale, digits),
            findings=runs.caveats(found, metric),
            value=found.value * scale,
            interval=interval(low, high, digits if scale == 1 else digits - 1),
            low=low,
            high=high,
            n=found.n or None,
        )

    return fill


percent = partial(score, scale=100, digits=2)


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


def strip(paper: PaperTable | None) -> Fill:
    """The overall accuracy drawn, with chance, and with what the paper has for the same model."""

    def fill(run: RunRecord) -> Cell:
        found = runs.figure(run, ACCURACY)
        if found.value is None:
            return Cell(text="", kind="strip")
        value, low, high, chance = (
            None if part is None else min(max(part * 100, 0.0), 100.0)
            for part in (found.value, found.low, found.high, runs.figure(run, "chance").value)
        )
        assert value is not None
        # A miniature has nothing to do with the paper's model of the same name.
        row = paper.row(str(run.model.name)) if paper and not runs.label(run) else None
        reported = float(row.cells[ACCURACY]) if row else None
        drawn = Strip(value=value, low=low, high=high, chance=chance, reported=reported)
        return Cell(text="", kind="strip", strip=drawn)

    return fill


def other_topics(shown: Sequence[str]) -> Fill:
    """The accuracy over all topics that have no column of their own."""

    def fill(run: RunRecord) -> Cell:
        found = [runs.figure(run, metric) for metric in runs.topics([run]) if metric not in shown]
        right = sum(round(value.value * value.n) for value in found if value.value is not None)
        n = sum(value.n for value in found if value.value is not None)
        if not n:
            return missing("the run has no question of another topic")
        if not 0 <= right <= n:
            return missing("the accuracies of these topics are not between 0 and 1")
        return share_cell(right, n)

    return fill


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

TEXT_METRICS = (
    Column("bleu", "BLEU", score("bleu"), "corpus BLEU, 1- to 4-grams"),
    Column("rouge1", "ROUGE1", score("rouge1"), "unigram overlap"),
    Column("rouge2", "ROUGE2", score("rouge2"), "bigram overlap"),
    Column("rougeL", "ROUGE-L", score("rougeL"), "longest common subsequence"),
    Column(
        "rougeLsum", "ROUGE-Lsum", score("rougeLsum"), "longest common subsequence, line by line"
    ),
    Column("bertscore_f1", "Avg F1", score("bertscore_f1"), "BERTScore F1, mean"),
    Column(
        "bertscore_precision",
        "Avg precision",
        score("bertscore_precision"),
        "BERTScore precision, mean",
    ),
    Column("bertscore_recall", "Avg recall", score("bertscore_recall"), "BERTScore recall, mean"),
)

TEXT_RANK = "rougeL"
"""The text metric by which runs are ranked: the one that decides in `harness compare` too."""

OUTCOMES = (
    Column(
        "unparsed",
        "Unparsed",
        percent("unparsed"),
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
    Column("tokens_per_second", "tokens/s", timed("tokens_per_second"), "generated tokens"),
    Column(
        "memory",
        "Memory",
        peak,
        "peak accelerator memory, or main memory without an accelerator",
        "GiB",
        lower_is_better=True,
    ),
)
"""What a question costs, in short; all of it is in COST."""


def accuracy(group: Sequence[RunRecord], paper: PaperTable | None) -> tuple[Column, ...]:
    """Overall accuracy, its picture, and accuracy by topic: the paper's topics, or the largest of
    the data, and all the others together, where there are any."""
    sizes = runs.topics(group)
    if paper:
        shown = [
            Column(column.metric, column.key, percent(column.metric), column.meaning)
            for column in paper.columns
            if column.metric.startswith(runs.TOPIC)
        ]
    else:
        shown = [Column(m, runs.topic(m), percent(m)) for m in list(sizes)[:MAX_TOPICS]]
    keys = [column.key for column in shown]
    if set(sizes) - set(keys):
        shown.append(Column("other", "Other", other_topics(keys), "all other topics"))
    return (
        Column(ACCURACY, "Overall", percent(ACCURACY), unit="%"),
        Column("strip", "On a scale from 0 to 100%", strip(paper), kind="strip"),
        *shown,
    )
