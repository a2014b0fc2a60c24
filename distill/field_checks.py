"""Checks of a settings dataclass: the type and the range of each field, and the error for one that
does not fit."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from harness.core.errors import HarnessError

Range = tuple[Callable[[float], bool], str]
"""What a number must satisfy, and the same in words."""
POSITIVE: Range = (lambda v: v > 0 and math.isfinite(v), "above 0")
NOT_NEGATIVE: Range = (lambda v: v >= 0 and math.isfinite(v), "0 or more")
BELOW_ONE: Range = (lambda v: 0 <= v < 1, "0 or more, and below 1")
_UNIONS = (types.UnionType, Union)
SHARE: Range = (lambda v: 0 <= v <= 1, "from 0 to 1")


def check_fields(settings: Any, ranges: Mapping[str, Range]) -> None:
    """Refuse a field of the dataclass `settings` that has another type, or is out of its range.

    Raises:
        HarnessError: names the field, its value and what it takes.
    """
    hints = get_type_hints(type(settings))
    for each in fields(settings):
        value = getattr(settings, each.name)
        if not _fits(value, hints[each.name]):
            raise refusal(each.name, value, f"It takes {_words(hints[each.name])}.")
    for name, (valid, known) in ranges.items():
        value = getattr(settings, name)
        if value is not None and not valid(value):
            raise refusal(name, value, f"It must be {known}.")


def refusal(name: str, value: Any, known: str) -> HarnessError:
    """The error for a field that cannot have its value."""
    return HarnessError(f"{name} cannot be {value!r}.", known=known)


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin in _UNIONS:
        return any(_fits(value, each) for each in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(each, arguments[0]) for each in value)
    if origin is not None:
        return isinstance(value, origin)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _words(hint: Any) -> str:
    """What a field takes, for a message."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(arguments)
    if origin in _UNIONS:
        return " or ".join(_words(each) for each in arguments)
    if origin is tuple:
        return f"a list of {_words(arguments[0])}"
    if hint is type(None):
        return "nothing"
    known = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return known.get(hint, "settings by name")
