"""Random draws that come out alike on every platform and every version of Python.

Only `Random.random` promises that of the standard library, so every other draw is made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """Draws from a seed; the same seed draws the same for ever."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)  # noqa: S311  # a draw to be repeated, not a secret

    def below(self, number: int) -> int:
        """A whole number from 0 to `number` - 1."""
        return int(self._random.random() * number)

    def pick(self, things: Sequence[T]) -> T:
        """One of `things`."""
        return things[self.below(len(things))]

    def sample(self, things: Sequence[T], number: int) -> list[T]:
        """`number` of `things`, in random order; all in random order where it is their number."""
        left = list(things)
        return [left.pop(self.below(len(left))) for _ in range(number)]

    def shuffled(self, things: Sequence[T]) -> list[T]:
        """All of `things` in random order."""
        return self.sample(things, len(things))
