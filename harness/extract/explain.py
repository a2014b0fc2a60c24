"""How an answer was extracted from a text: what was cut, which statements were found, which rule
decided, and the words that it decided by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from string import ascii_uppercase
from types import MappingProxyType
from typing import Any

from harness.core.types import Target
from harness.extract import extract_choice, extract_open, spelt
from harness.extract.aligned import Aligned, with_brackets
from harness.extract.english import in_plain_english
from harness.extract.references import Options, prepare
from harness.extract.statements import Statement
from harness.extract.transcript import own_answers
from harness.extract.weighing import statements_of

RULES: Mapping[str, str] = MappingProxyType(
    {
        "conclusion": "The content of the last CONCLUSION tag that is not empty.",
        "answer phrase": "A phrase says what the answer is.",
        "closing phrase": "A line that stands for a conclusion.",
        "verdict": "An option is called the correct one.",
        "largest probability": "An object gives each option a probability, and one the largest.",
        "leading letter": "The text begins with the letter of an option.",
        "closing letter": "The last sentence is the letter of an option, or ends with it.",
        "option text": "The text, or its first or last sentence, is an option's own text.",
        "whole text": "An open question is answered by the whole text.",
    }
)
"""The rules that give an answer."""

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "empty": "Nothing but white space and template residue.",
        "empty conclusion": "A CONCLUSION tag with nothing in it.",
        "no conclusion": "A structured answer that never came to its conclusion.",
        "unfinished": "The text was cut, or stops midway, and no explicit statement stands in it.",
        "unfinished thinking": "The thinking never ends.",
        "echo of the options": "The options were repeated and none was chosen.",
        "two letters": "More than one letter, without commitment to one.",
        "two options": "More than one option, without commitment to one.",
        "two answers": "Two different answers are stated, and neither corrects the other.",
        "letter outside the options": "A letter that no option has.",
        "value outside the options": "The answer is said to be something that no option is.",
        "letter and text disagree": "The letter of one option with the text of another.",
        "rejected": "Options were named only to be rejected.",
        "refusal": "The text says that there is no answer, or that it cannot give one.",
        "nothing recognised": "No rule fits.",
    }
)
"""The reasons why a text has no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A statement of the text: a phrase that names an option, takes it back, or declines all."""

    words: str
    span: tuple[int, int]
    """Start and end in the raw text."""
    says: str
    """The letter of the option that it names, or why it names none."""
    kind: str
    """The rule that it could decide by; "rejection" for one that takes an option back."""
    weight: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One text, step by step."""

    raw: str
    choices: tuple[str, ...]
    answer: Target | None
    rule: str
    meaning: str
    """The rule in words."""
    span: tuple[int, int] | None
    finished: bool | None
    kept: tuple[tuple[int, int], ...]
    """The parts of the raw text that may hold the answer: the rest is thinking, a template, or
    belongs to other questions."""
    statements: tuple[Named, ...]
    """In the order of the text; none for an open question."""

    @property
    def words(self) -> str:
        """The words that the answer was extracted from."""
        return self.raw[slice(*self.span)] if self.span else ""

    def to_json(self) -> dict[str, Any]:
        chosen = self.choices[self.answer] if isinstance(self.answer, int) else None
        return {**asdict(self), "choice": chosen, "words": self.words}


def explain(raw: str, choices: Sequence[str], *, finished: bool | None = None) -> Explanation:
    """Extract the answer as a run does, and say how.

    Args:
        choices: of a multiple-choice question; none: an open question.
        finished: whether the model itself ended the text; None: unknown.
    """
    reading = (extract_choice if choices else extract_open)(raw, choices, finished=finished)
    options = prepare(choices)
    pieces = list(_pieces(raw, options)) if choices else []
    kept = [span for piece in pieces if (span := piece.span(0, len(piece)))]
    if not choices and reading.span:
        kept = [reading.span]
    return Explanation(
        raw=raw,
        choices=tuple(choices),
        answer=reading.answer,
        rule=reading.rule,
        meaning=RULES.get(reading.rule) or REASONS.get(reading.rule, ""),
        span=reading.span,
        finished=finished,
        kept=tuple(kept),
        statements=tuple(
            dict.fromkeys(
                one
                for piece in pieces
                for one in _named(raw, piece, options, finished=finished is not False)
            )
        ),
    )


def _pieces(raw: str, options: Options) -> Iterator[Aligned]:
    """The parts of a text that may hold the answer: see `harness.extract.extract_choice`."""
    text = spelt(raw)
    if text is not None:
        yield from (piece for piece in own_answers(text, restates=options.all_in) if piece)


def _named(raw: str, piece: Aligned, options: Options, *, finished: bool) -> Iterator[Named]:
    """The statements of a piece, in its order."""
    english = in_plain_english(piece, options)
    found = statements_of(english, options, finished=finished)
    for one in sorted(found, key=lambda one: one.at):
        if found_at := english.text.span(one.start, one.end):
            span = with_brackets(raw, found_at)
            yield Named(
                words=raw[slice(*span)],
                span=span,
                says=_says(one),
                kind=one.rule or "rejection",
                weight=one.weight.name.lower(),
            )


def _says(one: Statement) -> str:
    if one.is_refusal:
        return "no option"
    option = one.option
    return ascii_uppercase[option] if isinstance(option, int) else option
