"""The options and the right answer of a row of answers that were made elsewhere.

Such rows come from many programs: with options or without, with one accepted text or several, with
the right option by its place, its letter or its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from harness.core.errors import DataError
from harness.core.types import Target
from harness.data.answer_keys import (
    CHOICES,
    LETTERS,
    by_letter,
    choice_list,
    choice_target,
    field_of,
    target_of,
)
from harness.data.literals import text_list
from harness.data.rows import Row
from harness.extract.listed import listed_options

TARGETS = ("target", "answers", "answer")
"""Fields that hold the right answer, the first of them that a row has."""
UNLISTED = "unlisted options"
"""Metadata of an answer whose options are not in its row: nobody knows how many there were."""
_FEWEST = 4
"""Options at least that are assumed where a row has none and its answer is a letter."""
_WITH_OPTIONS = frozenset({"multiple-choice", "multiple_choice", "multi-choice", "multi_choice"})
_WRITTEN = frozenset({"open", "open-ended", "free_form", "free-form"})
"""What `question_type` says of a question, in MMMU and MathVista."""


Kind = Literal["choice", "text", "mixed"]
"""As `harness.core.types.Task.answers`."""


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """The options of a row, none for a written answer, and the right answer."""

    choices: tuple[str, ...]
    target: Target
    metadata: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyForm:
    """How the rows of one file write their answer keys."""

    answers: Kind
    letters: str
    """The options of rows that list none and have a letter as their answer."""
    by_letter: bool
    """Every right option is given by its letter, so that "A" is the first also where another
    option's text is "A"."""

    @classmethod
    def of(cls, rows: Iterable[Row], answers: Kind) -> Self:
        """The form of these rows: letters where all are, and some can be nothing else."""
        if answers == "text":
            return cls(answers, "", by_letter=False)
        highest = _FEWEST
        listed: list[tuple[str, list[object]]] = []
        for row in rows:
            try:
                row = _plain(row)  # noqa: PLW2901  # the same row
            except DataError:  # said when its key is read
                continue
            letter = _letter(row.fields.get(field_of(row, TARGETS)))
            if _is_listed(row):
                options = row.fields[field_of(row, CHOICES)]
                options = list(options) if isinstance(options, list) else []
                listed.append((letter if letter in LETTERS[: len(options)] else "", options))
            elif letter and _wants_option(row, answers):
                highest = max(highest, LETTERS.index(letter) + 1)
        certain = any(letter not in options for letter, options in listed)
        all_letters = all(letter for letter, _ in listed)
        return cls(answers, LETTERS[:highest], by_letter=all_letters and certain)

    def key(self, row: Row) -> AnswerKey:
        """The options and the right answer of a row; raises DataError where a field does not
        fit."""
        if self.answers == "text":
            return AnswerKey((), target_of(row, (), TARGETS))
        row = _plain(row)
        name = field_of(row, TARGETS)
        if _is_listed(row):
            choices = choice_list(row)
            keyed = by_letter(row, name) if self.by_letter else row
            return AnswerKey(choices, target_of(keyed, choices, TARGETS))
        if _letter(row.fields.get(name)) and _wants_option(row, self.answers):
            return self._unlisted(by_letter(row, name), name)
        choices = choice_list(row) if self.answers == "choice" else ()
        return AnswerKey(choices, target_of(row, (), TARGETS))

    def _unlisted(self, row: Row, name: str) -> AnswerKey:
        """The options in the text of the question, or else letters."""
        place, question = row.fields.get(name), row.fields.get("question")
        options = listed_options(question) if isinstance(question, str) else ()
        if isinstance(place, int) and 0 <= place < len(options):
            return AnswerKey(options, place)
        options = tuple(self.letters)
        return AnswerKey(options, choice_target(row, options, TARGETS), {UNLISTED: 1.0})


def _letter(value: object) -> str:
    """The letter that a value is, as "B" or "(B)"; "" where it is none."""
    letter = value.strip().strip("().:").strip() if isinstance(value, str) else ""
    return letter if len(letter) == 1 and letter in LETTERS else ""


def _wants_option(row: Row, answers: Kind) -> bool:
    """Whether a letter in the answer of a row without options names an option."""
    kind = row.fields.get("question_type")
    if answers == "choice" or kind in _WITH_OPTIONS:
        return True
    return kind not in _WRITTEN and row.fields.get("answers") is None


def _is_listed(row: Row) -> bool:
    return bool(row.fields.get(field_of(row, CHOICES)))


def _plain(row: Row) -> Row:
    """The row with the options that it has as the text of a list, and its one accepted answer in
    place of a list of it."""
    fields = dict(row.fields)
    name = field_of(row, CHOICES)
    listed = fields.get(name)
    if isinstance(listed, str) and listed.startswith("["):
        fields[name] = text_list(row, name)
    accepted = fields.get("answers")
    if isinstance(accepted, list) and len(accepted) == 1 and fields.get("target") is None:
        only = accepted[0]
        fields["answers"] = only if isinstance(only, str | int) else accepted
    return replace(row, fields=fields)
