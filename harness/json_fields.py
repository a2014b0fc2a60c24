"""Values that were read from JSON, held against the types of a dataclass's fields.

A run folder can come from anywhere: what does not fit is told when it is read, not wherever it is
first used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin, get_type_hints

Types: TypeAlias = tuple[type, ...]


def check_fields(made: Any) -> None:
    """Raises TypeError where a field of a dataclass, made from JSON, has another type than it says;
    one level deep."""
    for name, (types, items) in _kinds(type(made)).items():  # type: ignore[arg-type]  # a class is hashable
        value = getattr(made, name)
        inner = value.values() if isinstance(value, dict) else value
        if not is_one(value, types) or (items and not all(is_one(i, items) for i in inner)):
            raise TypeError(f"field {name!r} cannot be {ascii(value)[:60]}")


def is_one(value: object, types: Types) -> bool:
    """Whether `value` has one of `types`."""
    # For Python a bool is an int; in a record it is not.
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


@cache
def _kinds(cls: type) -> Mapping[str, tuple[Types, Types]]:
    """Field of a dataclass -> the types that JSON may give for it, and those of the items in it;
    no types of items: they may be anything."""
    kinds = {}
    for name, hint in get_type_hints(cls).items():
        arguments = get_args(hint)[-1:] if get_origin(hint) is Mapping else get_args(hint)[:1]
        inner = () if get_origin(hint) in _UNIONS or arguments == (Any,) else arguments
        kinds[name] = (_json_types(hint), tuple(t for hint in inner for t in _json_types(hint)))
    return kinds


_UNIONS = (Union, UnionType)


def _json_types(hint: Any) -> Types:
    origin = get_origin(hint) or hint
    if origin in _UNIONS:
        return tuple(kind for part in get_args(hint) for kind in _json_types(part))
    if origin is float:
        return (float, int, NoneType)  # None: what was not finite
    return {Mapping: (dict,), Sequence: (list, tuple), tuple: (list, tuple)}.get(origin, (origin,))


def parse_json(text: str | bytes) -> Any:
    """The JSON value in `text`; raises ValueError, also for what is JSON for Python alone."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
