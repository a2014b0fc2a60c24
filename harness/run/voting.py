"""Self-consistency: several sampled answers to a question, and the one that most of them give.

"Self-Consistency Improves Chain of Thought Reasoning in Language Models" (Wang et al., 2023),
equation 1 with equal weights: of N sampled answers the extracted answer a that maximises
sum_i 1[a_i = a]. An answer that is unparsed has no vote; of answers with equally many votes the one
that was sampled first wins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.core.types import Answer, Extraction, Output, Prediction, Vote

Extract = Callable[[Output], Extraction]


def seeds(first: int, votes: int) -> list[int]:
    """The seed of each answer's sampling; the first one's is that of a run without votes."""
    return [(first + number) % 2**32 for number in range(votes)]


def together(outputs: Sequence[Output]) -> Output:
    """One output for a question: the first answer, with all of them; an error of any is its."""
    broken = next((output for output in outputs if output.error), None)
    return broken or replace(outputs[0], votes=tuple(outputs))


def winner(answers: Sequence[Answer | None]) -> int:
    """The place of the first answer that most votes are for; 0 where none could be parsed."""
    counts: dict[Answer, int] = {}
    for answer in map(_comparable, answers):
        if answer is not None:
            counts[answer] = counts.get(answer, 0) + 1
    if not counts:
        return 0
    most = max(counts, key=counts.__getitem__)  # the first of those that are equal
    return next(n for n, answer in enumerate(answers) if _comparable(answer) == most)


def elected(output: Output, extract: Extract) -> tuple[Output, tuple[Vote, ...]]:
    """The output that the votes elect, which has taken the tokens of all; and the votes."""
    readings = [extract(each) for each in output.votes]
    votes = tuple(
        Vote(
            answer=reading.answer,
            rule=reading.rule,
            raw=each.raw,
            seed=each.seed,
            tokens=each.tokens,
            finish=each.finish,
        )
        for each, reading in zip(output.votes, readings, strict=True)
    )
    won = output.votes[winner([vote.answer for vote in votes])]
    tokens = [each.tokens for each in output.votes]
    known = [number for number in tokens if number is not None]
    return replace(won, tokens=sum(known) if len(known) == len(tokens) else None), votes


def counted_again(prediction: Prediction, extract: Callable[[str, str], Extraction]) -> Prediction:
    """The prediction with its votes extracted again, and the text that they elect now.

    Args:
        extract: (raw text, why it ended) -> extraction.
    """
    votes = []
    for vote in prediction.votes:
        reading = extract(vote.raw, vote.finish)
        votes.append(replace(vote, answer=reading.answer, rule=reading.rule))
    won = votes[winner([vote.answer for vote in votes])]
    return replace(prediction, votes=tuple(votes), raw=won.raw, finish=won.finish)


def _comparable(answer: Answer | None) -> Answer | None:
    """An answer in words without its case, and without what is not a word at its ends."""
    if not isinstance(answer, str):
        return answer
    return " ".join(answer.casefold().split()).strip(" .,;:!?\"'") or None
