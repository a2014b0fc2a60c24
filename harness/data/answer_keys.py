"""The right answer of a row: which option it is, or which texts are accepted.

One place for the ways in which data sets and people write an answer key, for questions and for
answers that are scored. What can be meant in two ways is refused, never guessed.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.core.errors import DataError
from harness.core.types import Reference, Target
from harness.data.pictures import found
from harness.data.rows import Row
from harness.data.white_space import lines, one_line

LETTERS = string.ascii_uppercase
CHOICES = ("choices", "options")
"""Fields that hold the options, the first of them that a row has."""
PAGE = "docs/data.md describes the format."

_CONFIDENCES = ("role", "answer_confidence")


_NO_KEY = frozenset({"", "?", "nan", "none", "n/a"})
"""What data sets write in the place of an answer that is not public, in lower case."""


def has_key(row: Row) -> bool:
    """Whether some field of an answer holds one, and not what stands in the place of one."""
    return any(_says_something(row.fields.get(name)) for name in ("answer", "answers", "target"))


def _says_something(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_says_something, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_says_something, value))
    if isinstance(value, float):
        return not math.isnan(value)
    return value is not None and str(value).strip().lower() not in _NO_KEY


def bad(row: Row, name: str, rule: str) -> DataError:
    """The error for a field that is missing or does not fit, by the data set's name for it."""
    value, name = row.fields.get(name), row.called.get(name, name)
    if value is None and name not in row.columns:
        known = f"The fields are {', '.join(ascii(each)[1:-1][:40] for each in row.columns[:20])}."
        return DataError(
            f"{row.where}, field {name!r}: missing; it {rule}.",
            known=known if row.columns else "",
            remedy=PAGE,
        )
    return DataError(f"{row.where}, field {name!r}: {rule}, found {found(value)}.", remedy=PAGE)


def field_of(row: Row, names: Sequence[str]) -> str:
    """The first of these fields that the row has; the first name where it has none."""
    return next((name for name in names if row.fields.get(name) is not None), names[0])


def choice_list(row: Row) -> tuple[str, ...]:
    """The options, unchecked but for being 2 to 26 texts; raises DataError."""
    name = field_of(row, CHOICES)
    values = row.fields.get(name)
    fits = isinstance(values, list | tuple) and 2 <= len(values) <= len(LETTERS)
    if not fits or not all(isinstance(value, str) for value in values):  # type: ignore[union-attr]
        raise bad(row, name, f"must be a list of 2 to {len(LETTERS)} texts")
    return tuple(values)  # type: ignore[arg-type]


def choice_target(row: Row, choices: Sequence[str], names: Sequence[str]) -> int | None:
    """The place of the right option, from its place, its letter ("B", "(B)", "B.") or its text;
    None where it is not public.

    Args:
        names: the fields in which it is looked for.

    Raises:
        DataError: it is none of these, or can be meant in two ways.
    """
    if row.keyless:
        return None
    name = field_of(row, names)
    value = row.fields.get(name)
    last = LETTERS[len(choices) - 1]
    rule = (
        f"must be the right option: its place, 0 to {len(choices) - 1}, its letter, A to {last}, "
        "or its text"
    )
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
        return value
    if not isinstance(value, str):
        raise bad(row, name, rule)
    places = {*_by_letter(value, choices), *_by_text(value, choices)}
    if len(places) != 1:
        raise bad(row, name, f"{rule}; this can be {len(places)} of them" if places else rule)
    return places.pop()


def by_letter(row: Row, name: str = "answer") -> Row:
    """The row with the place of a letter such as "B" or "(B)" in the field, for data whose answers
    are letters, whatever an option's text is; another answer stays."""
    value = row.fields.get(name)
    letter = value.strip().strip("().:").strip() if isinstance(value, str) else ""
    if len(letter) != 1 or letter not in LETTERS:
        return row
    return replace(row, fields={**row.fields, name: LETTERS.index(letter)})


def _by_letter(value: str, choices: Sequence[str]) -> list[int]:
    letter = value.strip().strip("().:").strip()
    found = LETTERS.find(letter) if len(letter) == 1 else -1
    return [found] if 0 <= found < len(choices) else []


def _by_text(value: str, choices: Sequence[str]) -> list[int]:
    """The options that are this text; without regard to case where none is."""
    text = one_line(value)
    texts = [one_line(choice) for choice in choices]
    exact = [place for place, choice in enumerate(texts) if choice == text]
    folded = [p for p, choice in enumerate(texts) if choice.casefold() == text.casefold()]
    return exact or folded


def text_target(
    row: Row, names: Sequence[str], clean: Callable[[str], str] = lines
) -> str | tuple[Reference, ...] | None:
    """The accepted texts: one, or a list of texts or of objects with `text` or `answer` and, where
    they have it, `weight` and `role` or `answer_confidence`; None where they are not public.

    Raises:
        DataError: there is none, or one that is no text.
    """
    if row.keyless:
        return None
    name = field_of(row, names)
    value = row.fields.get(name)
    rule = "must be a text that is not empty, or a list of them"
    if isinstance(value, list | tuple):
        made = tuple(_reference(row, name, each, clean) for each in value)
        if not any(each.text for each in made):
            raise bad(row, name, rule)
        return made[0].text if len(made) == 1 and made[0] == Reference(made[0].text) else made
    if isinstance(value, int) and any(row.fields.get(each) is not None for each in CHOICES):
        raise bad(row, name, "must be text, as this task has no options")
    text = _text(value, clean)
    if not text:
        raise bad(row, name, rule if text is None else "must not be empty")
    return text


def _reference(row: Row, name: str, value: Any, clean: Callable[[str], str]) -> Reference:
    if not isinstance(value, Mapping):
        text = _text(value, clean)
        if text is None:
            raise bad(row, name, "must be a text, or a list of texts or of objects with a text")
        return Reference(text)
    text = _text(next((value[key] for key in ("text", "answer") if key in value), None), clean)
    weight = value.get("weight", 1.0)
    if text is None or not _is_number(weight) or weight < 0:
        raise bad(row, name, "must hold objects with a text and, if any, a weight from 0")
    role = next((value[key] for key in _CONFIDENCES if isinstance(value.get(key), str)), "")
    return Reference(text, float(weight), role)


def _text(value: object, clean: Callable[[str], str]) -> str | None:
    """A text or a number in words; None for anything else."""
    if _is_number(value):
        return str(value)
    return clean(value) if isinstance(value, str) else None


def _is_number(value: object) -> bool:
    """Whether it is a number that a float can come near."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def target_of(row: Row, choices: Sequence[str], names: Sequence[str]) -> Target:
    """The right answer of a row with these options, or without any; one text as it is written, by
    which the same answers give the same figures, whatever version scored them first."""
    if choices:
        return choice_target(row, choices, names)
    target = text_target(row, names)
    written = row.fields.get(field_of(row, names))
    return written if isinstance(written, str) else target
