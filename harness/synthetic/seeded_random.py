"""Random numbers that are the same on every platform and in every version of Python.

Of the standard library only `Random.random` promises that, so all else is made from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class SeededRandom:
    """A random generator: the same seed gives the same numbers for ever."""

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
