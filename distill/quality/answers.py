"""What a student's answers look like from inside: tags, and reasoning that ends in an error.

It needs the predictions of a run and nothing else, so it can be computed for any run at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from distill.quality.measures import arrives_at, share
from harness.core import structured
from harness.core.types import Prediction, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningToError:
    """Wrong answers, and those of them whose reasoning was right (the paper's first limitation)."""

    answers: int
    """Answers to questions with options; failed samples are not among them."""
    wrong: int
    """Wrong answers, those in which nothing could be read included."""
    with_reasoning: int
    """Wrong answers that have a REASONING."""
    sample_ids: tuple[str, ...]
    """Wrong answers whose reasoning arrives at the gold option, in the run's order."""

    @property
    def of_wrong(self) -> Value:
        """Their share of the wrong answers that have a reasoning."""
        return share(at < len(self.sample_ids) for at in range(self.with_reasoning))

    @property
    def of_answers(self) -> Value:
        """Their share of all answers: the accuracy that is lost after the reasoning."""
        return share(at < len(self.sample_ids) for at in range(self.answers))


def reasoning_to_error(predictions: Sequence[Prediction]) -> ReasoningToError:
    """Wrong answers whose reasoning names the right option and only that (section 6, Figure 5).

    What a reasoning names is what it arrives at, by the rule of
    `distill.quality.measures.arrives_at`: the Illinois of Figure 5, whose reasoning mentions all
    four states and whose conclusion is A.
    Answers without a REASONING cannot be such an error; they are counted apart.
    """
    asked = [p for p in predictions if p.correct is not None]
    wrong = [p for p in asked if not p.correct]
    tagged = (p for p in wrong if "<" in p.raw)  # most answers have no tags
    reasonings = [(p, structured.parse(p.raw).reasoning) for p in tagged]
    with_reasoning = [(p, text) for p, text in reasonings if text]
    return ReasoningToError(
        answers=len(asked),
        wrong=len(wrong),
        with_reasoning=len(with_reasoning),
        sample_ids=tuple(
            p.sample_id
            for p, text in with_reasoning
            if _arrived_at(text, tuple(p.choices)) == p.target
        ),
    )


@lru_cache(maxsize=2**14)
def _arrived_at(reasoning: str, choices: tuple[str, ...]) -> int | str | None:
    """The answer of `arrives_at`, which takes a while: students of one base write much alike."""
    return arrives_at(reasoning, choices).answer


def structure(
    predictions: Sequence[Prediction], errors: ReasoningToError | None = None
) -> dict[str, Value]:
    """The figures of structured answers, in the form of a metric (section 3.3).

    all_tags: answers in which each of the four stages is opened and filled; well_formed: those in
    which each is also closed, in order, once, with nothing outside. reasoning_to_error: of the
    wrong answers that have a reasoning, those whose reasoning was right;
    reasoning_to_error_of_all: the same ones as a share of all answers.

    Args:
        predictions: of one run.
        errors: what `reasoning_to_error` makes of them, where it has been asked already.
    """
    parsed = [structured.parse(p.raw) for p in predictions if p.error is None]
    errors = errors or reasoning_to_error(predictions)
    return {
        "all_tags": share(not each.missing for each in parsed),
        "well_formed": share(each.well_formed for each in parsed),
        "reasoning_to_error": errors.of_wrong,
        "reasoning_to_error_of_all": errors.of_answers,
    }
