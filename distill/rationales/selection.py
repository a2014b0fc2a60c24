"""The methods that choose among several attempts at a question: each gives every attempt that
passed the filter a score, and the highest is kept, of equal ones the earlier.

A new method is a function here, a name in `Choose` and a row in METHODS.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from harness.core.types import Answer

if TYPE_CHECKING:
    from distill.quality.measures import Quality

Choose = Literal["best", "first", "agreement", "consistency", "gain", "shortest", "longest"]
"""The names of the methods."""


class Candidate(Protocol):
    """What a method may ask of an attempt; each is found out when it is asked."""

    @property
    def quality(self) -> Quality: ...

    @property
    def conclusion(self) -> Answer | None:
        """As the task extracts it: an option's index, or words; None: it cannot be read."""

    @property
    def agreement(self) -> float:
        """How far the conclusion is the gold answer, 0 to 1."""

    @property
    def gain(self) -> float | None:
        """See `gain`; None: it was not computed."""


Score = Callable[[Candidate, Sequence[Candidate]], float]
"""(an attempt, all attempts at its question, those that the filter rejects too) -> its score."""


@dataclass(frozen=True, slots=True)
class Method:
    """A row of METHODS."""

    score: Score
    words: str
    """What it keeps, in a few words, for the help."""
    stops: bool = False
    """Ask no further where an attempt has passed the filter."""
    scored_by_model: bool = False
    """It needs `Candidate.gain`, for which a model reads each attempt."""


def first(one: Candidate, among: Sequence[Candidate]) -> float:
    """score(r_i) = 0 for each attempt: the earliest that passes the filter is kept.

    With the filter `agrees` it is rejection sampling on the answer, as in "STaR" (Zelikman et al.,
    2022), section 3.1, at the least cost: who has passed is not asked again.
    """
    del one, among
    return 0.0


def best(one: Candidate, among: Sequence[Candidate]) -> float:
    """score(r_i) = the mean of the text measures that apply, 0 to 1: see
    `distill.quality.measures.Quality.score`.

    Ours: tags, a right conclusion, a reasoning that arrives there, no answer given away before it,
    no repetition.
    """
    del among
    return one.quality.score


def agreement(one: Candidate, among: Sequence[Candidate]) -> float:
    """score(r_i) = 1[y_i = y*] for options, the ROUGE-L F1 of y_i and y* for written answers: y_i
    is what attempt i concludes, y* the gold answer.

    The criterion of "STaR" (Zelikman et al., 2022), section 3.1, and of "Specializing Smaller
    Language Models" (Fu et al., 2023), as a preference: with the filter `none` or `format` a
    question without an agreeing attempt keeps its first one.
    """
    del among
    return one.agreement


def consistency(one: Candidate, among: Sequence[Candidate]) -> float:
    """score(r_i) = 1/N sum_j 1[y_j = y_i]: the share of all N attempts that conclude the same.

    The majority vote of "Self-Consistency Improves Chain of Thought Reasoning" (Wang et al., 2023),
    equation 1, as "Large Language Models Can Self-Improve" (Huang et al., 2023), section 3, selects
    training texts by it. It does not look at the gold answer. A conclusion that cannot be read
    agrees with none, itself included.
    """
    concluded = one.conclusion
    if concluded is None:
        return 0.0
    return sum(_same(concluded, other.conclusion) for other in among) / len(among)


def gain(one: Candidate, among: Sequence[Candidate]) -> float:
    """score(r_i) = log P(y* | x, r_i) - log P(y* | x), in nats: what the rationale adds to the
    likelihood of the gold answer y* for the question x.

    The pointwise information of "REV: Information-Theoretic Evaluation of Free-Text Rationales"
    (Chen et al., 2023), section 3, with one model for both terms and no fine-tuning of it. P is the
    first teacher or the model that `--gain-by` names, shown the question as students are, never the
    answer: see `distill.rationales.gains`.
    """
    del among
    return float("-inf") if one.gain is None else one.gain


def shortest(one: Candidate, among: Sequence[Candidate]) -> float:
    """score(r_i) = - the number of words in summary, caption and reasoning of attempt i.

    The shortest of N, as in "Self-Training Elicits Concise Reasoning in Large Language Models"
    (Munkhbat et al., 2025), section 3.
    """
    del among
    return -float(one.quality.words)


def longest(one: Candidate, among: Sequence[Candidate]) -> float:
    """score(r_i) = the number of words in summary, caption and reasoning of attempt i.

    Length as complexity, after "Complexity-Based Prompting for Multi-Step Reasoning" (Fu et al.,
    2023), section 3, which counts lines.
    """
    del among
    return float(one.quality.words)


METHODS: Mapping[Choose, Method] = types.MappingProxyType(
    {
        "best": Method(best, "the highest quality"),
        "first": Method(first, "the first that passes the filter, asking no further", stops=True),
        "agreement": Method(agreement, "one that concludes the gold answer"),
        "consistency": Method(consistency, "one that concludes as most attempts do"),
        "gain": Method(
            gain, "the one that makes the gold answer likeliest (--gain-by)", scored_by_model=True
        ),
        "shortest": Method(shortest, "the fewest words"),
        "longest": Method(longest, "the most words"),
    }
)
"""Name -> method."""


def help_text() -> str:
    """What each method keeps, for the help of `--choose`."""
    return "; ".join(f"{name}, {method.words}" for name, method in METHODS.items())


def _same(one: Answer, other: Answer | None) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one.casefold().split() == other.casefold().split()
    return one == other
