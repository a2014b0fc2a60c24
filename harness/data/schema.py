"""From rows to samples: one schema for each kind of question, whatever file the rows come from.

A row that does not fit ends the load, with the file, the row, the field and what was found there:
an answer key with a hole in it makes every later figure wrong. Pictures are not read here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from harness.core.errors import DataError
from harness.core.images import ImageRef
from harness.core.types import DataOptions, Sample, SampleSet, Target
from harness.data.answer_keys import (
    CHOICES,
    LETTERS,
    bad,
    choice_list,
    choice_target,
    field_of,
    text_target,
)
from harness.data.pictures import EXAMPLES, columns, found, holds_picture
from harness.data.rows import Row
from harness.data.white_space import lines, one_line

FIELDS = frozenset(
    [
        *("id", "index", "question", *CHOICES, "answer", "answers", "group"),
        *("topic", "l2-category", "category", "hint", "context", "lecture", "solution", "split"),
        *LETTERS,
    ]
)
"""Every field that is read, in addition to those that hold pictures."""


def choice_question(row: Row) -> Sample:
    """A multiple-choice question: `choices` or `options`, or columns A, B, ...; and as `answer` the
    place of the right one, from 0, its letter or its text. Raises DataError.
    """
    listed = any(row.fields.get(name) is not None for name in CHOICES)
    choices = _choices(row) if listed else _lettered_choices(row)
    target = choice_target(row, choices, ["answer"])
    return Sample(
        id=_id(row),
        numbered=row.fields.get("id") is None,
        question=_required(row, "question", one_line),
        target=target,
        choices=choices,
        images=_images(row),
        pictured_choices=bool(row.choice_images),
        topic=_topic(row),
        group=_group(row),
        context=_optional(row, "hint", one_line),
        lecture=_optional(row, "lecture", one_line),
        solution=_optional(row, "solution", one_line),
    )


def open_question(row: Row) -> Sample:
    """A question with a written answer: `question`, `answer` or several `answers`, and `context`
    where there is one. Raises DataError.
    """
    return Sample(
        id=_id(row),
        numbered=row.fields.get("id") is None,
        question=_required(row, "question", one_line),
        target=_answers(row),
        images=_images(row),
        topic=_topic(row),
        group=_group(row),
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
        known = f"Split: {options.split}." if options.split else ""
        raise DataError(f"{source} holds no rows.", known=known)
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


def _text(row: Row, name: str, value: object, clean: Callable[[str], str]) -> str:
    if not isinstance(value, str):
        raise bad(row, name, "must be text")
    if holds_picture(value):
        raise bad(row, name, "must not hold a picture in base64; its place is the field 'image'")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise bad(row, name, "must be text that UTF-8 can hold, without lone surrogates")
    return clean(value)


def _required(row: Row, name: str, clean: Callable[[str], str]) -> str:
    text = _text(row, name, row.fields.get(name), clean)
    if not text:
        raise bad(row, name, "must not be empty")
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


def _group(row: Row) -> str:
    value = row.fields.get("group")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _optional(row, "group", one_line)


def _answers(row: Row) -> Target:
    """The accepted texts, each checked to be words."""

    def clean(text: str) -> str:
        return _text(row, name, text, lines)

    name = field_of(row, ["answer", "answers"])
    return text_target(row, [name], clean)


def _choices(row: Row) -> tuple[str, ...]:
    name = field_of(row, CHOICES)
    choices = tuple(_text(row, name, value, one_line) for value in choice_list(row))
    if not all(choices) and not row.choice_images:
        raise bad(row, name, "must not hold an empty text")
    return choices


def _lettered_choices(row: Row) -> tuple[str, ...]:
    if "A" not in row.fields:
        raise bad(row, "choices", f"must be a list of 2 to {len(LETTERS)} texts")
    texts = {letter: _optional(row, letter, one_line) for letter in LETTERS}
    filled = [letter for letter, text in texts.items() if text]
    if len(filled) < 2 or filled != list(LETTERS[: len(filled)]):
        raise DataError(
            f"{row.where}, fields 'A' to 'Z': must hold two or more choices, from 'A' on without a "
            f"gap, found {', '.join(filled) or 'none'}."
        )
    return tuple(texts[letter] for letter in filled)
