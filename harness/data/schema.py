"""From rows to samples: one schema for each kind of question, whatever file the rows come from.

A row that does not fit ends the load, with the file, the row, the field and what was found there:
an answer key with a hole in it makes every later figure wrong. Pictures are not read here.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable, Iterable

from harness.core.errors import DataError
from harness.core.types import DataOptions, ImageRef, Sample, SampleSet
from harness.data.pictures import EXAMPLES, columns, found, holds_picture
from harness.data.rows import Row

LETTERS = string.ascii_uppercase
FIELDS = frozenset(
    [
        *("id", "index", "question", "choices", "answer", "topic", "l2-category", "category"),
        *("hint", "context", "lecture", "solution", "split"),
        *LETTERS,
    ]
)
"""Every field that is read, in addition to those that hold pictures."""


def one_line(text: str) -> str:
    """NFC, with each run of white space as one space and none at the ends (the paper, 4.1)."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def lines(text: str) -> str:
    """NFC, with white space collapsed within each line; line breaks are kept.

    Long answers keep their lines because ROUGE-Lsum is computed line by line.
    """
    kept = (" ".join(line.split()) for line in unicodedata.normalize("NFC", text).splitlines())
    return "\n".join(kept).strip()


def choice_question(row: Row) -> Sample:
    """A multiple-choice question: `choices` and a 0-based `answer`, or columns A, B, ... and the
    letter of the answer. Raises DataError.
    """
    fields = row.fields
    if "choices" in fields:
        choices = _choices(row)
        target = _index(row, choices)
    else:
        choices = _lettered_choices(row)
        target = _letter(row, choices)
    return Sample(
        id=_id(row),
        numbered=row.fields.get("id") is None,
        question=_required(row, "question", one_line),
        target=target,
        choices=choices,
        images=_images(row),
        pictured_choices=bool(row.choice_images),
        topic=_topic(row),
        context=_optional(row, "hint", one_line),
        lecture=_optional(row, "lecture", one_line),
        solution=_optional(row, "solution", one_line),
    )


def open_question(row: Row) -> Sample:
    """A question with a written answer: `question`, `answer`, and `context` where there is one.
    Raises DataError.
    """
    return Sample(
        id=_id(row),
        numbered=row.fields.get("id") is None,
        question=_required(row, "question", one_line),
        target=_required(row, "answer", lines),
        images=_images(row),
        topic=_topic(row),
        context=_optional(row, "context", lines),
    )


def collect(
    rows: Iterable[Row],
    build: Callable[[Row], Sample],
    options: DataOptions,
    *,
    source: str,
    revision: str | None = None,
    licence: str = "",
) -> SampleSet:
    """The samples of a split, checked, without those that have no picture unless asked for.

    A row counts as one without an image by its main image alone, also where its options are
    pictures: the rule by which ScienceQA's test split has 2,017 image questions of 4,241.

    Raises:
        DataError: a row does not fit, an id is there twice, or nothing is left.
    """
    samples: list[Sample] = []
    where_by_id: dict[str, str] = {}
    names: dict[str, None] = {}
    pictured = 0
    for row in rows:
        sample = build(row)
        if sample.id in where_by_id:
            raise DataError(
                f"{row.where}, field 'id': {found(sample.id)} is there twice.",
                known=f"It is first in {where_by_id[sample.id]}.",
            )
        where_by_id[sample.id] = row.where
        pictured += bool(row.images)
        names.update(dict.fromkeys(row.columns))
        if row.images or options.text_only:
            samples.append(sample)
    total = len(where_by_id)
    if not total:
        raise DataError(f"{source} holds no rows.", known=f"Split: {options.split}.")
    none = "" if pictured else _no_image(total, names, source=source)
    if none and not options.text_only:
        raise DataError(
            none,
            remedy="Call the field that holds the pictures 'image'. Answers that you have are "
            "scored with `harness score`.",
        )
    left_out = total - len(samples)
    return SampleSet(
        samples=samples,
        total=total,
        filtered={"no image": left_out} if left_out else {},
        source=source,
        revision=revision,
        licence=licence,
        unit="questions" if options.text_only else "image questions",
        notes=(none,) if none else (),
    )


def _no_image(total: int, names: Iterable[str], *, source: str) -> str:
    return (
        f"0 of {total:,} rows of {source} have an image. "
        f"The fields are {columns(names)}; an image is looked for in {EXAMPLES}."
    )


def _bad(row: Row, name: str, rule: str) -> DataError:
    if name not in row.fields:
        return DataError(f"{row.where}, field {name!r}: missing; it {rule}.")
    return DataError(f"{row.where}, field {name!r}: {rule}, found {found(row.fields[name])}.")


def _text(row: Row, name: str, value: object, clean: Callable[[str], str]) -> str:
    if not isinstance(value, str):
        raise _bad(row, name, "must be text")
    if holds_picture(value):
        raise _bad(row, name, "must not hold a picture in base64; its place is the field 'image'")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise _bad(row, name, "must be text that UTF-8 can hold, without lone surrogates")
    return clean(value)


def _required(row: Row, name: str, clean: Callable[[str], str]) -> str:
    text = _text(row, name, row.fields.get(name), clean)
    if not text:
        raise _bad(row, name, "must not be empty")
    return text


def _optional(row: Row, name: str, clean: Callable[[str], str]) -> str:
    value = row.fields.get(name)
    return "" if value is None else _text(row, name, value, clean)


def _id(row: Row) -> str:
    value = row.fields.get("id")
    if value is None:
        return str(row.number)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _required(row, "id", str.strip)


def _topic(row: Row) -> str:
    """ScienceQA's own field, or the coarser of the two that VLMEvalKit's files can have."""
    for name in ("topic", "l2-category", "category"):
        if topic := _optional(row, name, one_line):
            return topic
    return ""


def _images(row: Row) -> tuple[ImageRef, ...]:
    return (*row.images, *row.choice_images)


def _choices(row: Row) -> tuple[str, ...]:
    values = row.fields["choices"]
    rule = f"must be a list of 2 to {len(LETTERS)} texts"
    if not isinstance(values, list | tuple) or not 2 <= len(values) <= len(LETTERS):
        raise _bad(row, "choices", rule)
    if not all(isinstance(value, str) for value in values):
        raise _bad(row, "choices", rule)
    choices = tuple(_text(row, "choices", value, one_line) for value in values)
    if not all(choices) and not row.choice_images:
        raise _bad(row, "choices", "must not hold an empty text")
    return choices


def _index(row: Row, choices: tuple[str, ...]) -> int:
    value = row.fields.get("answer")
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
        return value
    raise _bad(row, "answer", f"must be 0 to {len(choices) - 1}, the place of the right choice")


def _lettered_choices(row: Row) -> tuple[str, ...]:
    if "A" not in row.fields:
        raise _bad(row, "choices", f"must be a list of 2 to {len(LETTERS)} texts")
    texts = {letter: _optional(row, letter, one_line) for letter in LETTERS}
    filled = [letter for letter, text in texts.items() if text]
    if len(filled) < 2 or filled != list(LETTERS[: len(filled)]):
        raise DataError(
            f"{row.where}, fields 'A' to 'Z': must hold two or more choices, from 'A' on without a "
            f"gap, found {', '.join(filled) or 'none'}."
        )
    return tuple(texts[letter] for letter in filled)


def _letter(row: Row, choices: tuple[str, ...]) -> int:
    value = row.fields.get("answer")
    letters = LETTERS[: len(choices)]
    if isinstance(value, str) and len(value.strip()) == 1 and value.strip() in letters:
        return letters.index(value.strip())
    raise _bad(row, "answer", f"must be one of the letters {', '.join(letters)}")
