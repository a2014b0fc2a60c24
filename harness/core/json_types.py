"""Check values from JSON against the types of a dataclass's fields.

A run folder can come from anywhere: a value that does not fit is an error when the folder is read,
not wherever the value is first used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

Types: TypeAlias = tuple[type, ...]


def check_fields(made: Any) -> None:
    """Raises TypeError where a field of a dataclass, made from JSON, has another type than it says;
    one level deep."""
    cls: Hashable = type(made)  # type: ignore[assignment]  # a class is hashable
    values = _values(cls)(made)
    for place, name, kind in _to_check(cls, tuple(map(type, values))):
        value = values[place]
        if type(value) is int and int in kind.types and -_LARGEST <= value <= _LARGEST:
            continue
        if value or type(value) not in kind.types:
            _check(value, kind, name)


def check_mapping(found: Mapping[str, Any], shape: type, where: str) -> None:
    """Raises TypeError where a value has another type than the TypedDict `shape` says, at any
    depth. Keys that it does not know may hold anything; `where` stands before a field's name."""
    for name, kind in _kinds(shape).items():
        if name in found:
            place = f"{where}.{name}"
            _check(found[name], kind, place)
            if kind.shape and found[name] is not None:
                check_mapping(found[name], kind.shape, place)


def _check(value: object, kind: _Kind, place: str) -> None:
    items = _items(value, kind)
    fits = is_one(value, kind.types) and (
        kind.plain_items.issuperset(map(type, items)) or all(is_one(i, kind.items) for i in items)
    )
    if not fits:
        raise TypeError(f"field {place!r} cannot be {ascii(value)[:60]}")


def check_depth(value: object, most: int) -> None:
    """Raises TypeError where objects and lists are nested more than `most` deep."""
    level = [value]
    for _ in range(most):
        level = [
            item
            for outer in level
            if isinstance(outer, dict | list | tuple)
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
    if any(isinstance(inner, dict | list | tuple) for inner in level):
        raise TypeError(f"nested more than {most} deep")


def is_one(value: object, types: Types) -> bool:
    """Whether `value` has one of `types`, and is no number that a float cannot come near."""
    if isinstance(value, int) and abs(value) > _LARGEST:
        return False
    # For Python a bool is an int; in a record it is not.
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


_LARGEST = 10**300


_ANY_VALUE = frozenset((str, float, NoneType))
"""Not int, which a float may not come near, and no bool, which is an int for Python."""


@dataclass(frozen=True)
class _Kind:
    """What a field may hold."""

    types: Types
    """As JSON has them."""
    items: Types = ()
    """Of the items of a list or mapping; none: they may be anything."""
    shape: type | None = None
    """The TypedDict that an object in it has."""

    @cached_property
    def plain(self) -> frozenset[type]:
        """Those of `types` of which each value fits, whatever it is: most values of a record are
        of one."""
        return frozenset(self.types) & _ANY_VALUE

    @cached_property
    def plain_items(self) -> frozenset[type]:
        """The same of `items`."""
        return frozenset(self.items) & _ANY_VALUE


@cache
def _values(cls: Hashable) -> Callable[[Any], tuple[Any, ...]]:
    """Gives the values of a dataclass's fields."""
    names = tuple(_kinds(cls))
    return attrgetter(*names) if len(names) > 1 else lambda made: (getattr(made, names[0]),)


@lru_cache(maxsize=1024)  # the answers of a run are mostly of the same types
def _to_check(cls: Hashable, types: Types) -> Sequence[tuple[int, str, _Kind]]:
    """(place, name, what it may hold) of the fields of which a value of its type need not fit.

    Args:
        types: of the values, in the order of the fields.
    """
    return [
        (place, name, kind)
        for place, (of, (name, kind)) in enumerate(zip(types, _kinds(cls).items(), strict=True))
        if of not in kind.plain
    ]


@cache
def _kinds(cls: Hashable) -> Mapping[str, _Kind]:
    """Field of a dataclass or of a TypedDict -> what it may hold."""
    return {name: _kind(hint) for name, hint in get_type_hints(cls).items()}


def _kind(hint: Any) -> _Kind:
    parts = get_args(hint) if get_origin(hint) in _UNIONS else (hint,)
    arguments = get_args(hint)[-1:] if get_origin(hint) is Mapping else get_args(hint)[:1]
    inner = () if get_origin(hint) in {*_UNIONS, Literal} or arguments == (Any,) else arguments
    return _Kind(
        types=_json_types(hint),
        items=tuple(t for each in inner for t in _json_types(each)),
        shape=next((part for part in parts if is_typeddict(part)), None),
    )


def _items(value: object, kind: _Kind) -> Iterable[object]:
    """The items of a list or mapping whose types are known."""
    if not kind.items or not isinstance(value, Collection):
        return ()
    return value.values() if isinstance(value, dict) else value


_UNIONS = (Union, UnionType)


def _json_types(hint: Any) -> Types:
    origin = get_origin(hint) or hint
    if origin in _UNIONS:
        return tuple(kind for part in get_args(hint) for kind in _json_types(part))
    if is_typeddict(origin):
        return (dict,)
    if origin is Literal:
        return tuple(dict.fromkeys(type(value) for value in get_args(hint)))
    if origin is float:
        return (float, int, NoneType)  # None: what was not finite
    return {Mapping: (dict,), Sequence: (list, tuple), tuple: (list, tuple)}.get(origin, (origin,))
