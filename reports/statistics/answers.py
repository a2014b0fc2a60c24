"""The answers of a run: its score on each question, and what other extractors find in its outputs.

Answers are large and are read once; what is kept of a run here is small. Comparing texts with their
references takes long, and is done for at most `MAX_SCORED` of them: the page then says of how many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from heapq import nsmallest

from harness.core.types import Prediction
from harness.extract import EXTRACTORS, extract_choice
from harness.run.shuffling import extract_answer
from reports.inputs import runs, sanitize
from reports.inputs.material import RunData
from reports.statistics.ranks import RunScores, Test

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
    test: Test
    answered: int
    scored: RunScores
    """Right or wrong, or ROUGE-L against the reference, of at most `MAX_SCORED` answers."""
    topics: Mapping[str, str]
    """Sample id -> topic, of those that are scored."""
    by_extractor: tuple[ExtractorResult, ...] = ()
    """By each of the extractors, ours as recorded; none for written answers, and for a run that was
    not parsed by ours: chosen by likelihood, or rescored with another extractor."""


def read(evidence: RunData) -> Answers | None:
    """Score the answers of a run; None without answers."""
    found = [p for p in evidence.predictions() if p.error is None]
    if not found:
        return None
    choices = any(p.choices for p in found)
    used = found if choices else chosen(found)
    name = runs.run_id(evidence.record)
    extracted = choices and runs.is_extracted(evidence.record)
    return Answers(
        run=name,
        test="mcnemar" if choices else "bootstrap",
        answered=len(found),
        scored=RunScores(
            name=name,
            scores={p.sample_id: float(bool(p.correct)) for p in used} if choices else _rouge(used),
            clusters={p.sample_id: p.images for p in used if p.images},
        ),
        topics={p.sample_id: sanitize.text(p.topic, limit=60) for p in used},
        by_extractor=tuple(_by_extractor(found)) if extracted else (),
    )


def chosen(predictions: Sequence[Prediction]) -> Sequence[Prediction]:
    """At most `MAX_SCORED` predictions, on the same questions for every run: those whose ids have
    the smallest hashes, in their order."""
    if len(predictions) <= MAX_SCORED:
        return predictions
    digests = [sha256(p.sample_id.encode("utf-8", "surrogatepass")).digest() for p in predictions]
    places = nsmallest(MAX_SCORED, range(len(predictions)), key=digests.__getitem__)
    return [predictions[place] for place in sorted(places)]


def _rouge(predictions: Sequence[Prediction]) -> dict[str, float]:
    from harness.metrics.overlap import rouge

    texts = ["" if p.answer is None else str(p.answer) for p in predictions]
    found = rouge(texts, [str(p.target) for p in predictions])["rougeL"]
    return {p.sample_id: float(score) for p, score in zip(predictions, found, strict=True)}


def _by_extractor(predictions: Iterable[Prediction]) -> Iterable[ExtractorResult]:
    asked = [p for p in predictions if p.choices and isinstance(p.target, int)]
    for name, extractor in EXTRACTORS.items():
        right = unparsed = changed = 0
        for p in asked:
            if extractor is extract_choice:
                place = p.answer
            else:
                place = extract_answer(extractor, p.raw, p.choices, p.order).answer
            right += place == p.target
            unparsed += place is None
            changed += place != p.answer
        yield ExtractorResult(
            extractor=name, n=len(asked), right=right, unparsed=unparsed, changed=changed
        )
