"""How far two orders of the same things agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from itertools import combinations


def kendall_tau(first: Mapping[str, Fraction], second: Mapping[str, Fraction]) -> float:
    """Kendall's tau-b, which ties make no larger: 1 for the same order, -1 for the reverse.

    Args:
        first: figures by name, two at least, not all equal.
        second: others of the same names.
    """
    pairs = list(combinations(first, 2))
    signs = [(_sign(first, *pair), _sign(second, *pair)) for pair in pairs]
    agreed = sum(one * two for one, two in signs)
    untied = [sum(pair[side] != 0 for pair in signs) for side in (0, 1)]
    return agreed / math.sqrt(untied[0] * untied[1]) if all(untied) else 0.0


def differing_pairs(
    first: Mapping[str, Fraction], second: Mapping[str, Fraction]
) -> list[tuple[str, str]]:
    """The pairs in which the second order is the reverse of the first: (higher in the first,
    higher in the second), the highest in the first before the others."""
    ordered = sorted(first, key=lambda name: -first[name])
    return [
        pair for pair in combinations(ordered, 2) if _sign(first, *pair) * _sign(second, *pair) < 0
    ]


def _sign(figures: Mapping[str, Fraction], one: str, other: str) -> int:
    return (figures[one] > figures[other]) - (figures[one] < figures[other])
