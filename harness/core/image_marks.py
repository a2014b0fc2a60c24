"""Where pictures stand in a text: a mark for each, the object replacement character of Unicode.

    "Compare <image 1> and <image 2>." -> "Compare MARK and MARK."

A task puts marks into `Prompt.text`, by `placed` where its data write `<image 1>`; a model family,
or a server's client, puts what the model takes in their place. Pictures without a mark come first.
Text from data loses the character when it is read, so that data cannot place pictures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeVar

from harness.core.errors import SampleError
from harness.core.images import ImageRef

IMAGE_MARK = "\ufffc"
_Image = TypeVar("_Image")
_NAMED = re.compile(r"<image[ _]?([0-9]{1,3})>", re.IGNORECASE)


def without_marks(text: str) -> str:
    """Text from data, with a space for each character that would place a picture."""
    return text.replace(IMAGE_MARK, " ")


def unmarked(text: str, images: int) -> int:
    """How many of a text's pictures have no mark; raises SampleError for marks without a
    picture."""
    marks = text.count(IMAGE_MARK)
    if marks > images:
        raise SampleError(f"its text has places for {marks} pictures; there are {images}")
    return images - marks


def in_order(text: str, images: Sequence[_Image]) -> list[str | _Image]:
    """The parts of a turn: pieces of the text that are not empty, and each picture at its place.

    Raises:
        SampleError: the text has more marks than there are pictures.
    """
    first = unmarked(text, len(images))
    piece, *pieces = text.split(IMAGE_MARK)
    parts: list[str | _Image] = [*images[:first], piece]
    for image, following in zip(images[first:], pieces, strict=True):
        parts += [image, following]
    return [part for part in parts if part != ""]


def with_placeholders(text: str, images: int, placeholder: Callable[[int], str]) -> str:
    """The text with `placeholder(number)` in place of each mark; pictures are numbered from 1,
    those without a mark first. Raises SampleError as `in_order` does."""
    numbers = count(unmarked(text, images) + 1)
    piece, *pieces = text.split(IMAGE_MARK)
    return piece + "".join(placeholder(next(numbers)) + following for following in pieces)


def in_words(text: str, images: int) -> str:
    """The text with `<image 1>` and so on in place of the marks, for a model whose pictures all
    come first, and for people."""
    return with_placeholders(text, images, lambda number: f"<image {number}>")


def placed(text: str, images: Sequence[ImageRef]) -> tuple[str, tuple[ImageRef, ...]]:
    """A text that names pictures as `<image 3>`, with marks for them, and the pictures in the order
    of a prompt: those that the text does not name first. A picture that is named again is called
    by its number in that order.

    Raises:
        SampleError: the text names a picture that is not there.
    """
    by_number = {image.number or place: image for place, image in enumerate(images, start=1)}
    named = list(dict.fromkeys(int(found[1]) for found in _NAMED.finditer(text)))
    for number in named:
        if number not in by_number:
            there = ", ".join(f"<image {each}>" for each in by_number) or "none"
            raise SampleError(
                f"its text names <image {number}>, which is not there; it has {there}"
            )
    order = [*(number for number in by_number if number not in named), *named]
    marked: set[int] = set()

    def mark(found: re.Match[str]) -> str:
        number = int(found[1])
        if number in marked:
            return f"<image {order.index(number) + 1}>"
        marked.add(number)
        return IMAGE_MARK

    return _NAMED.sub(mark, text), tuple(by_number[number] for number in order)
