"""What the page keeps of a run's answers once it has read them: columns, without the texts.

The texts are read again, from the lines that `ends` finds, when a block of questions is packed: so
the answers of one run are in memory at a time, whatever their number.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from distill.quality.answers import reasoning_to_error
from harness.core.types import Prediction
from harness.metrics.questions import PARTS, UNKNOWN, Digest
from harness.run.records import RunRecord
from reports.inputs import runs
from reports.inputs.metrics import MetricFormat, scored_by
from reports.page.samples.verdicts import FAILED, OTHERS, RECORDED, verdict_of
from reports.statistics.answers import Computed
from reports.statistics.paired import RunScores

_WIDTH = len(UNKNOWN) * PARTS
"""Bytes of a question's digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The answers of a run, an entry of each column for each, in the run's order. All of it is
    JSON."""

    ids: Sequence[str]
    topics: Sequence[str]
    groups: Sequence[str]
    images: Sequence[Sequence[str]]
    """Digests of its pictures."""
    contents: str
    """The digest of each question in hex, one after another: see harness.metrics.questions."""
    worded: str
    """1: the question has a text; 0: it has none."""
    chosen: bool
    """Some question has options."""
    verdicts: Mapping[str, str]
    """Extractor -> a character each."""
    misled: Sequence[int]
    """Places of wrong answers whose reasoning was right."""
    scores: Mapping[str, Sequence[float | None]]
    """Metric -> what it gave each answer; None: nothing."""
    clusters: Sequence[int] | None
    """Of the answers that did not fail, numbers that are equal where they are not independent."""
    ends: Sequence[int]
    """The offset after each line of its file; none where the answers are in memory."""

    def questions(self) -> list[Digest]:
        """The digest of each question."""
        found = bytes.fromhex(self.contents)
        return [found[start : start + _WIDTH] for start in range(0, len(found), _WIDTH)]

    def span(self, place: int) -> tuple[int, int]:
        """Where the line of an answer begins and ends in its file."""
        return (self.ends[place - 1] if place else 0, self.ends[place])


def columns_of(
    record: RunRecord,
    predictions: Sequence[Prediction],
    computed: Computed,
    *,
    ends: Sequence[int] = (),
) -> Columns:
    """The columns of a run's answers, with their scores.

    Args:
        computed: of these answers.
    """
    answered = [p for p in predictions if p.error is None]
    named = {name for p in answered for name in p.scores}
    scores = {
        metric.name: [None if p.error else p.scores.get(metric.name) for p in predictions]
        for metric in sample_metrics(record, named)
    }
    marked = next(iter(scores.values()), [None] * len(predictions))
    binary = all(score is None or score in (0, 1) for score in marked)
    chosen = any(p.choices for p in predictions)
    shown = marked if binary else [None] * len(predictions)
    verdicts = {
        RECORDED: "".join(
            verdict_of(p, p.answer, score) for p, score in zip(predictions, shown, strict=True)
        )
    }
    for name in OTHERS if computed.extracted and binary else ():
        verdicts[name] = "".join(map(verdict_of, predictions, computed.extracted[name]))
    misled = frozenset(reasoning_to_error(predictions).sample_ids)
    return Columns(
        ids=[p.sample_id for p in predictions],
        topics=[p.topic for p in predictions],
        groups=[p.group for p in predictions],
        images=[p.images for p in predictions],
        contents=b"".join(computed.questions.values()).hex(),
        worded="".join("1" if p.question else "0" for p in predictions),
        chosen=chosen,
        verdicts=verdicts,
        misled=[place for place, p in enumerate(predictions) if p.sample_id in misled],
        scores=scores,
        clusters=computed.clusters,
        ends=ends,
    )


def sample_metrics(record: RunRecord, named: Collection[str]) -> list[MetricFormat]:
    """The metrics that give each answer a score, the decisive one first."""
    return [
        metric
        for metric in scored_by(record, sorted(named))
        if metric.scope == "sample" and metric.name in named
    ]


def run_scores(record: RunRecord, columns: Columns) -> RunScores:
    """The scores of a run in paired tests, by the first metric."""
    marked = next(iter(columns.scores.values()), ())
    verdicts = columns.verdicts[RECORDED]
    answered = [i for i, found in zip(columns.ids, verdicts, strict=True) if found != FAILED]
    return RunScores(
        name=runs.run_id(record),
        scores={i: s for i, s in zip(columns.ids, marked, strict=False) if s is not None},
        clusters=dict(zip(answered, columns.clusters or (), strict=False)),
    )
