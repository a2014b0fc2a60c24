"""The options and the right answer of a row of answers that were made elsewhere.

Such rows come from many programs: with options or without, with one accepted text or several, with
the right option by its place, its letter or its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

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
_NONE: tuple[object, ...] = (None, [], "[]", "")
_FEWEST = 4
"""Options at least that are assumed where a row has none and its answer is a letter."""
_WITH_OPTIONS = frozenset({"multiple-choice", "multiple_choice", "multi-choice", "multi_choice"})
_WRITTEN = frozenset({"open", "open-ended", "free_form", "free-form"})
"""What `question_type` says of a question, in MMMU and MathVista."""


def answer_key(
    row: Row, answers: Literal["choice", "text", "mixed"], *, letters: str
) -> tuple[tuple[str, ...], Target]:
    """The options of a row, none for a written answer, and the right answer.

    Args:
        answers: as in `harness.core.types.Task`.
        letters: the options of rows that list none and have a letter as their answer.

    Raises:
        DataError: a field does not fit.
    """
    row = _single(_with_list(row))
    listed = bool(row.fields.get(field_of(row, CHOICES)))
    if answers == "text":
        return (), _written(row) if listed else target_of(row, (), TARGETS)
    if listed:
        choices = choice_list(row)
        return choices, target_of(row, choices, TARGETS)
    if letter_of(row, answers) or (answers == "choice" and _is_place(row)):
        return _unlisted(row, letters)
    return (choice_list(row) if answers == "choice" else ()), target_of(row, (), TARGETS)


def _unlisted(row: Row, letters: str) -> tuple[tuple[str, ...], Target]:
    """The options in the text of the question, or else letters; and the right one by its letter or
    place."""
    by_place = by_letter(row, field_of(row, TARGETS))
    place = by_place.fields.get(field_of(row, TARGETS))
    question = row.fields.get("question")
    options = listed_options(question) if isinstance(question, str) else ()
    if not isinstance(place, int) or not 0 <= place < len(options):
        options = tuple(letters)
    return options, choice_target(by_place, options, TARGETS)


def letter_of(fields: Row | Mapping[str, Any], answers: str) -> str:
    """The letter that is the right answer of a row without options; "" where it is none."""
    if isinstance(fields, Row):
        fields = _single(fields).fields
    kind = fields.get("question_type")
    if (
        any(fields.get(name) not in _NONE for name in CHOICES)
        or answers == "text"
        or kind in _WRITTEN
    ):
        return ""
    name = next((name for name in TARGETS if fields.get(name) is not None), TARGETS[0])
    value = fields.get(name)
    if answers == "mixed" and name == "answers" and kind not in _WITH_OPTIONS:
        return ""
    letter = value.strip().strip("().:").strip() if isinstance(value, str) else ""
    return letter if len(letter) == 1 and letter in LETTERS else ""


def letters_up_to(found: Iterable[str]) -> str:
    """The letters of options, from A to the last that any answer has."""
    return LETTERS[: max([_FEWEST, *(LETTERS.index(letter) + 1 for letter in found if letter)])]


def _with_list(row: Row) -> Row:
    """The row with the options that it has as the text of a list."""
    name = field_of(row, CHOICES)
    if not isinstance(row.fields.get(name), str):
        return row
    return replace(row, fields={**row.fields, name: text_list(row, name)})


def _is_place(row: Row) -> bool:
    value = row.fields.get(field_of(row, TARGETS))
    return isinstance(value, int) and not isinstance(value, bool)


def _single(row: Row) -> Row:
    """The row with its one accepted answer in place of a list of it."""
    name = field_of(row, TARGETS)
    value = row.fields.get(name)
    if name != "answers" or not isinstance(value, list) or len(value) != 1:
        return row
    if not isinstance(value[0], str | int):
        return row
    return replace(row, fields={**row.fields, name: value[0]})


def _written(row: Row) -> Target:
    """The accepted texts of a row that lists options too, such as yes and no: a place is that of
    the option whose text is wanted."""
    if not _is_place(row):
        return target_of(row, (), TARGETS)
    choices: Sequence[str] = choice_list(row)
    place = choice_target(row, choices, TARGETS)
    return None if place is None else choices[place]
