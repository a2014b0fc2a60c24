"""Answers that are a field: a JSON object with the answer, or with a probability for each option,
and a tag called answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from string import ascii_uppercase
from typing import NamedTuple

_OBJECT = re.compile(r"(?:\A|\n|```|\bjson\b)\s{0,9}(?=\{)")
_KEY = re.compile(
    r"\"(?:(?:final|correct|predicted|selected|chosen|best|my|the)[ _-]?)?"
    r"(?:answer|choice|option|prediction|letter|response|answer[ _-]?choice)"
    r"(?:[ _-]?(?:letter|choice|option|key|id|label))?\"\s{0,9}:\s{0,9}",
    re.IGNORECASE,
)
_TAG = re.compile(r"<(final[_ ]?answer|answer|choice|option)>", re.IGNORECASE)
_DECODER = json.JSONDecoder()
_OBJECTS = 5
"""Objects of a text that are tried."""


class Field(NamedTuple):
    """The content of a field, and its place in the text."""

    start: int
    end: int


class Likeliest(NamedTuple):
    """The option with the largest probability; None where two share it."""

    label: str | None
    start: int
    end: int


def answer_field(text: str) -> Field | Likeliest | None:
    """What a text gives as its answer in a field of JSON or in a tag; None where it has neither."""
    if not ("{" in text or "<" in text):
        return None
    for begins, _ in zip(_OBJECT.finditer(text), range(_OBJECTS), strict=False):
        if found := _of_object(text, begins.end()):
            return found
    tags = list(_TAG.finditer(text))
    if not tags:
        return None
    start = tags[-1].end()
    end = text.lower().find(f"</{tags[-1][1].lower()}>", start)
    content = text[start : end if end >= 0 else len(text)]
    return Field(start, start + len(content)) if content.strip() else None


def _of_object(text: str, at: int) -> Field | Likeliest | None:
    value, end = _decoded(text, at)
    if value is None:
        end = len(text)
    outermost = _outermost(text, at, end)
    if outermost or not isinstance(value, dict):
        return outermost
    for probabilities in (value, *value.values()):
        if isinstance(probabilities, dict) and _by_label(probabilities):
            return Likeliest(_largest(probabilities), at, end)
    return None


def _outermost(text: str, at: int, end: int) -> Field | None:
    """The last answer among those that are nested least: not one of its alternatives."""
    found: Field | None = None
    least = depth = 0
    for key in _KEY.finditer(text, at, end):
        between = text[at : key.start()]
        depth += sum(map(between.count, "{[")) - sum(map(between.count, "}]"))
        at = key.start()
        field = _value(text, key.end())
        if field and (found is None or depth <= least):
            found, least = field, depth
    return found


def _decoded(text: str, at: int) -> tuple[object, int]:
    """The JSON value that begins there and where it ends; None where it is not well formed."""
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None, at


def _value(text: str, at: int) -> Field | None:
    value, end = _decoded(text, at)
    if isinstance(value, str):
        return Field(at + 1, end - 1)
    if isinstance(value, list) and len(value) == 1:
        return Field(at + 1, end - 1)
    return Field(at, end) if isinstance(value, int | float) else None


def _by_label(values: Mapping[str, object]) -> bool:
    """An object such as {"A": 0.1, "B": 0.9}."""
    labels = list(ascii_uppercase[: len(values)])
    return (
        len(values) > 1
        and sorted(map(str.upper, values)) == labels
        and all(isinstance(value, int | float) for value in values.values())
    )


def _largest(values: Mapping[str, object]) -> str | None:
    numbers = {key.upper(): value for key, value in _numbers(values)}
    most = max(numbers.values())
    largest = [key for key, number in numbers.items() if number == most]
    return largest[0] if len(largest) == 1 else None


def _numbers(values: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if isinstance(value, int | float):
            yield key, float(value)
