"""Runs on the same questions, with their answers by question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from distill.quality.answers import reasoning_to_error
from harness.core.types import Prediction, Target
from harness.extract import EXTRACTORS
from harness.metrics.clusters import clusters
from harness.run.records import RunRecord
from reports.inputs import runs, sanitize
from reports.inputs.material import RunData, SampleChoice
from reports.inputs.metrics import MetricFormat, scored_by
from reports.page.samples.verdicts import (
    ABSENT,
    FAILED,
    OTHERS,
    RECORDED,
    RIGHT,
    UNPARSED,
    WRONG,
    answer_row,
    compact_json,
    extract_by,
    verdict_of,
)
from reports.statistics.answers import with_scores
from reports.statistics.paired import RunScores, figure


@dataclass(slots=True)
class Sample:
    """A question, as the first run that was asked it has it."""

    question: str
    choices: tuple[str, ...]
    target: Target
    topic: str
    group: str
    images: list[tuple[str, ...]]
    """Digests of its pictures, as each run has them: answers made elsewhere may have others."""
    pictures: list[str] = field(default_factory=list)
    """Digests for which there is a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRun:
    """A run's answers, by sample id."""

    record: RunRecord
    verdicts: Mapping[str, dict[str, str]]
    """Extractor -> sample id -> character."""
    rows: Mapping[str, str]
    """Sample id -> the answer as JSON."""
    misled: frozenset[str]
    """Ids of wrong answers whose reasoning was right."""
    metric: MetricFormat | None
    """What its answers are marked by: the first metric that gives each a score; None: none does."""
    scores: RunScores
    """By that metric."""
    listed: tuple[MetricFormat, ...]
    """The other metrics, whose scores stand in `rows`, in their order."""

    @property
    def is_graded(self) -> bool:
        """Whether an answer may be more than right or wrong."""
        return self.metric is not None and (
            self.scores.test != "mcnemar" or not self.metric.higher_is_better
        )

    def is_marked_by(self, metric: MetricFormat | None) -> bool:
        return self.metric is not None and metric is not None and self.metric.name == metric.name


@dataclass(frozen=True, slots=True)
class Group:
    """Runs on the same questions."""

    samples: dict[str, Sample]
    runs: list[GroupRun]
    data: set[str]
    """Fingerprints of their data."""

    @property
    def metric(self) -> MetricFormat | None:
        """What answers are marked by; None: options are right or wrong, texts are neither."""
        return self.runs[0].metric

    @property
    def is_graded(self) -> bool:
        """Whether some answers are graded: then all are shown with their scores."""
        return any(run.is_graded for run in self.scored)

    @property
    def scored(self) -> list[GroupRun]:
        """The runs that are marked by `metric`."""
        return [run for run in self.runs if run.is_marked_by(self.metric)]

    @property
    def ends(self) -> tuple[float, float]:
        """The worst and the best score: 0 and 1 where all lie between them."""
        found = [float(s) for run in self.scored for s in run.scores.scores.values()]  # type: ignore[arg-type]  # one number each
        low, high = min(found, default=0.0), max(found, default=1.0)
        if low >= 0 and high <= 1:
            low, high = 0.0, 1.0
        return (low, high) if self.metric is None or self.metric.higher_is_better else (high, low)

    def takes(self, record: RunRecord, predictions: Sequence[Prediction]) -> bool:
        """Whether these are answers to questions of this group: of one task and split, of the same
        data or with some question in common, and none that is another question here."""
        task = self.runs[0].record.task
        if (task.name, task.split) != (record.task.name, record.task.split):
            return False
        common = [(known, p) for p in predictions if (known := self.samples.get(p.sample_id))]
        if not common and _data(record) not in self.data:
            return False
        return all(k.choices == p.choices and k.target == p.target for k, p in common)


def collect(groups: list[Group], evidence: RunData) -> None:
    """Put the answers of a run to those on the same questions, or into a group of their own."""
    predictions = evidence.predictions()
    if not predictions:
        return
    record = evidence.record
    group = next((group for group in groups if group.takes(record, predictions)), None)
    if group is None:
        group = Group({}, [], set())
        groups.append(group)
    group.runs.append(_run(evidence, predictions))
    group.data.add(_data(record))
    for p in predictions:
        known = group.samples.get(p.sample_id)
        if known is None:
            known = Sample(p.question, p.choices, p.target, p.topic, p.group, [])
            group.samples[p.sample_id] = known
        # Answers made elsewhere need not bring all of it.
        known.question = known.question or p.question
        known.topic = known.topic or p.topic
        if p.images and p.images not in known.images:
            known.images.append(p.images)


def _run(evidence: RunData, predictions: Sequence[Prediction]) -> GroupRun:
    record = evidence.record
    predictions = with_scores(record, predictions)
    metrics = _metrics(record, predictions)
    marked = metrics[0] if metrics else None
    scores = _scores(record, predictions, marked)
    binary = scores.test == "mcnemar"
    listed = tuple(metrics[1:])
    by_others = runs.is_extracted(record) and any(p.choices for p in predictions) and binary
    extractors = {name: EXTRACTORS[name] for name in OTHERS} if by_others else {}
    verdicts: dict[str, dict[str, str]] = {name: {} for name in (RECORDED, *extractors)}
    rows = {}
    for p in predictions:
        score = p.scores.get(marked.name) if marked and binary else None
        verdicts[RECORDED][p.sample_id] = verdict_of(p, p.answer, score)
        others = []
        for name, extractor in extractors.items():
            reading = extract_by(extractor, p)
            verdicts[name][p.sample_id] = verdict_of(p, reading.answer)
            others.append([reading.answer, sanitize.text(reading.rule)])
        given = [p.scores.get(metric.name) for metric in listed]
        rows[p.sample_id] = compact_json(answer_row(p, others, given))
    return GroupRun(
        record=record,
        verdicts=verdicts,
        rows=rows,
        misled=frozenset(reasoning_to_error(predictions).sample_ids),
        metric=marked,
        scores=scores,
        listed=listed,
    )


def _metrics(record: RunRecord, predictions: Sequence[Prediction]) -> list[MetricFormat]:
    """The metrics that give each answer a score, the decisive one first."""
    named = {name for p in predictions if p.error is None for name in p.scores}
    return [
        metric
        for metric in scored_by(record, sorted(named))
        if metric.scope == "sample" and metric.name in named
    ]


def _scores(
    record: RunRecord, predictions: Sequence[Prediction], metric: MetricFormat | None
) -> RunScores:
    answered = [p for p in predictions if p.error is None]
    together = clusters(answered) or ()
    name = metric.name if metric else ""
    return RunScores(
        name=runs.run_id(record),
        scores={p.sample_id: p.scores[name] for p in answered if name in p.scores},
        clusters=dict(zip((p.sample_id for p in answered), together, strict=False)),
    )


def _data(record: RunRecord) -> str:
    return str(sanitize.mapping(record.fingerprint).get("data"))


def merit(run: GroupRun) -> float:
    """What runs are listed by, the most first: the mean score where answers are graded, or else
    the share of right answers, failed questions left out."""
    if run.is_graded and run.metric:
        found = list(run.scores.scores)
        return figure(run.scores, found) * run.metric.sign if found else -math.inf
    verdicts = [verdict for verdict in run.verdicts[RECORDED].values() if verdict != FAILED]
    return verdicts.count(RIGHT) / len(verdicts) if verdicts else 0.0


def shown_ids(group: Group, samples: SampleChoice) -> list[str]:
    """The questions that can be looked at on the page; errors: those that some run got wrong, or
    has no full score for."""
    if samples != "errors":
        return list(group.samples) if samples == "all" else []
    marked, best = (group.scored, group.ends[1]) if group.is_graded else ([], 0.0)

    def is_error(sample_id: str) -> bool:
        verdicts = (run.verdicts[RECORDED].get(sample_id, ABSENT) for run in group.runs)
        return any(verdict in WRONG + UNPARSED + FAILED for verdict in verdicts) or any(
            run.scores.scores.get(sample_id, best) != best for run in marked
        )

    return [sample_id for sample_id in group.samples if is_error(sample_id)]
