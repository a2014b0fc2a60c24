"""The answers of a run: its score on each question, and what other extractors find in its outputs.

Answers are large and are read once; what is kept of a run here is small. Where an older version
kept no scores, texts are compared with their references again: that takes long, and is done for at
most `MAX_SCORED` of them. The page then says of how many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from heapq import nsmallest
from typing import Self

from harness.core.errors import HarnessError
from harness.core.types import Answer, Metric, Prediction
from harness.extract import EXTRACTORS, extract_choice
from harness.metrics.clusters import clusters
from harness.metrics.figures import aggregate, contributions
from harness.metrics.questions import Digest, digests
from harness.run.records import RunRecord
from harness.run.scores import scored_predictions
from harness.run.shuffling import extract_answer
from reports.inputs import runs, sanitize
from reports.inputs.material import RunData
from reports.inputs.metrics import MetricFormat, scored_by
from reports.statistics.paired import RunScores, Scoring, mean

MAX_SCORED = 5000
"""More than ScienceQA's test split has; all of VQAonline would take minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractorResult:
    """A run's outputs as one extractor parses them."""

    extractor: str
    n: int
    """Outputs that it was given."""
    right: int
    unparsed: int
    changed: int
    """Answers that differ from the recorded ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers of a run, without their texts. Questions that failed are not among them."""

    run: str
    """The id of the run on the page."""
    metric: MetricFormat
    """What they are scored by: the first metric of the record that they can be."""
    answered: int
    scored: RunScores
    """The scores of all answers; of at most `MAX_SCORED` texts that are scored for the page."""
    topics: Mapping[str, str]
    """Sample id -> topic, of those that are scored."""
    unparsed: Sequence[str] = ()
    """Ids of answers that no rule can parse."""
    failed: Sequence[str] = ()
    """Ids of questions that failed."""
    by_extractor: tuple[ExtractorResult, ...] = ()
    """By each of the extractors, ours as recorded; none for written answers, and for a run that was
    not parsed by ours: chosen by likelihood, or rescored with another extractor."""

    @property
    def is_whole(self) -> bool:
        """Whether all answers are scored, and not `MAX_SCORED` of them."""
        return len(self.scored.questions) == self.answered

    @property
    def asked(self) -> Sequence[str]:
        """The ids of the questions that the run was asked, where it is whole."""
        return [*self.scored.questions, *self.failed]

    @property
    def parsed(self) -> RunScores:
        """The scores of the answers that a rule can parse."""
        lacking = set(self.unparsed)
        scores = {key: s for key, s in self.scored.scores.items() if key not in lacking}
        return replace(self.scored, scores=scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What is computed once of a run's answers, for its scores and for its samples."""

    extracted: Mapping[str, Sequence[Answer | None]]
    """Extractor -> what it finds in each output: see `_extracted`."""
    questions: Mapping[str, Digest]
    """Sample id -> the digest of its question."""
    clusters: Sequence[int] | None
    """Of the answers that did not fail: see harness.metrics.clusters."""

    @classmethod
    def of(cls, record: RunRecord, predictions: Sequence[Prediction]) -> Self:
        return cls(
            extracted=_extracted(record, predictions),
            questions=digests(predictions),
            clusters=clusters([p for p in predictions if p.error is None]),
        )


def read(evidence: RunData, computed: Computed | None = None) -> Answers | None:
    """Score the answers of a run; None without answers, or where none has a score.

    Args:
        computed: of these answers; None: it is computed here.
    """
    every = evidence.predictions()
    found = [p for p in every if p.error is None]
    if not found:
        return None
    record = evidence.record
    choices = any(p.choices for p in found)
    compared = chosen(found) if not choices and _lacks_scores(record, found) else found
    used = with_scores(record, compared)
    computed = computed or Computed.of(record, every)
    together = dict(zip((p.sample_id for p in found), computed.clusters or (), strict=False))
    scored = next(_scored(evidence, used, together), None)
    if scored is None:
        return None
    metric, scores = scored
    asked = {p.sample_id: computed.questions[p.sample_id] for p in used}
    topics = {p.sample_id: sanitize.text(p.topic, limit=60) for p in used}
    return Answers(
        run=scores.name,
        metric=metric,
        answered=len(found),
        scored=replace(scores, questions=asked),
        topics={key: topics[key] for key in scores.scores},
        unparsed=[p.sample_id for p in used if p.answer is None],
        failed=[p.sample_id for p in every if p.error is not None],
        by_extractor=tuple(_by_extractor(every, computed.extracted)),
    )


def _extracted(
    record: RunRecord, predictions: Sequence[Prediction]
) -> dict[str, list[Answer | None]]:
    """What each extractor finds in the outputs of a run, ours as recorded; none for written
    answers, and for a run that was not parsed by ours."""
    if not runs.is_extracted(record) or not any(p.choices for p in predictions):
        return {}
    return {
        name: [
            p.answer
            if extractor is extract_choice or not p.choices or p.error is not None
            else extract_answer(extractor, p.raw, p.choices, p.order).answer
            for p in predictions
        ]
        for name, extractor in EXTRACTORS.items()
    }


def _lacks_scores(record: RunRecord, predictions: Sequence[Prediction]) -> bool:
    """Whether texts have to be compared with their references now."""
    kept = {name for p in predictions for name in p.scores}
    return any(m.scope == "sample" and m.name not in kept for m in scored_by(record, kept))


def with_scores(record: RunRecord, predictions: Sequence[Prediction]) -> Sequence[Prediction]:
    """The answers with their scores; where an older version kept none, of at most `MAX_SCORED`."""
    if len(predictions) > MAX_SCORED and not any(p.scores for p in predictions):
        return predictions
    return scored_predictions(record, predictions)


def _scored(
    evidence: RunData, predictions: Sequence[Prediction], together: Mapping[str, int]
) -> Iterator[tuple[MetricFormat, RunScores]]:
    """The metrics that these answers can be scored by, the decisive one first.

    Args:
        together: the clusters, by sample id.
    """
    record = evidence.record
    name = runs.run_id(record)
    for metric in scored_by(record, (name for p in predictions for name in p.scores)):
        if metric.scope == "sample":
            scores = {
                p.sample_id: p.scores[metric.name] for p in predictions if metric.name in p.scores
            }
            if scores:
                yield metric, RunScores(name=name, scores=scores, clusters=together)
        elif (code := evidence.code(metric.name)) and (found := _contributed(code, predictions)):
            yield metric, replace(found, name=name, clusters=together)


def _contributed(code: Metric, predictions: Sequence[Prediction]) -> RunScores | None:
    """What answers contribute to a metric that gives them no score of their own."""
    try:
        made = contributions(predictions, [replace(code, per_group=None)])[code.name]
    except HarnessError:  # of a user's own metric
        return None
    if not len(made.of):
        return None
    return RunScores(
        name="",
        scores={
            predictions[place].sample_id: tuple(row)
            for place, row in zip(made.of, made.values.tolist(), strict=True)
        },
        clusters={},
        groups={p.sample_id: p.group for p in predictions if p.group},
        scoring=Scoring(
            aggregate=partial(aggregate, code) if code.aggregate else mean,
            per_group=code.per_group,
        ),
    )


def chosen(predictions: Sequence[Prediction]) -> Sequence[Prediction]:
    """At most `MAX_SCORED` predictions, on the same questions for every run: those whose ids have
    the smallest hashes, in their order."""
    if len(predictions) <= MAX_SCORED:
        return predictions
    digests = [sha256(p.sample_id.encode("utf-8", "surrogatepass")).digest() for p in predictions]
    places = nsmallest(MAX_SCORED, range(len(predictions)), key=digests.__getitem__)
    return [predictions[place] for place in sorted(places)]


def _by_extractor(
    predictions: Sequence[Prediction], extracted: Mapping[str, Sequence[Answer | None]]
) -> Iterator[ExtractorResult]:
    asked = [
        (place, p)
        for place, p in enumerate(predictions)
        if p.error is None and p.choices and isinstance(p.target, int)
    ]
    for name, answers in extracted.items():
        yield ExtractorResult(
            extractor=name,
            n=len(asked),
            right=sum(answers[place] == p.target for place, p in asked),
            unparsed=sum(answers[place] is None for place, _ in asked),
            changed=sum(answers[place] != p.answer for place, p in asked),
        )
