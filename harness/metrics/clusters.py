"""Which samples are not independent of each other: those of one group, and those that share an
image."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.types import Prediction


def groups(predictions: Sequence[Prediction]) -> list[int] | None:
    """A number for each prediction, the same within a group that the data set names, (n,); None
    where no two are of one group."""
    return _numbered([p.group or None for p in predictions])


def clusters(predictions: Sequence[Prediction]) -> list[int] | None:
    """A number for each prediction, the same for all that a group or equal images connect, (n,);
    None where no two are connected."""
    parent: dict[object, object] = {}

    def root(node: object) -> object:
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    for p in predictions:
        if p.group and p.images:
            parent[root(("group", p.group))] = root(("images", p.images))
    keys = [
        root(("group", p.group) if p.group else ("images", p.images))
        if p.group or p.images
        else None
        for p in predictions
    ]
    return _numbered(keys)


def _numbered(keys: Sequence[object]) -> list[int] | None:
    """Equal keys by equal numbers, in order of appearance; None is equal to nothing."""
    numbers: dict[object, int] = {}
    found = [
        numbers.setdefault(("alone", place) if key is None else key, len(numbers))
        for place, key in enumerate(keys)
    ]
    return found if len(numbers) < len(found) else None
