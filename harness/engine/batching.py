"""Who waits, and who is seated next.

Prompts come from an iterator that may be endless for all we know: only so many are taken from it
ahead as make for good neighbours. Of those, prompts of like length are read together, so that
little of a batch is padding; the one that has waited longest is always among them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from harness.engine.rows import Row

AHEAD = 16
"""Prompts that are looked at beyond those that there are seats for."""


@dataclass(slots=True, eq=False)
class Live:
    """A prompt on its way, from waiting to its last token."""

    number: int
    """Its place among all prompts of the run."""
    row: Row
    tokens: list[int] = field(default_factory=list)
    """What it has written."""
    seconds: float = 0.0
    """The time that it has taken so far."""
    cached: int = 0
    """Its tokens in the cache: the next one is written there."""
    alone: bool = False
    """It takes no other into its batch: one of those that it was in failed."""

    @property
    def to_read(self) -> Row:
        """The prompt and what was written, where the cache has none of it."""
        return self.row.extended(self.tokens) if self.tokens else self.row

    @property
    def length(self) -> int:
        """Tokens that are to be read before the next one can be written."""
        return self.row.length + len(self.tokens)


class Waiting:
    """The prompts that have no seat yet.

    Args:
        prompts: (number, row), taken only when there is room for more.
        lane: prompts of different lanes are never in one batch.
    """

    def __init__(self, prompts: Iterator[tuple[int, Row]], lane: Callable[[Row], Hashable]) -> None:
        self._prompts = prompts
        self._lane = lane
        self._line: list[Live] = []
        self._ended = False
        self.lane: Hashable = None
        """The lane of those that are seated."""

    def __bool__(self) -> bool:
        return bool(self._line) or not self._ended

    def pull(self, seats: int) -> None:
        """Take as many prompts as so many free seats need, and some more."""
        while not self._ended and len(self._line) < seats + AHEAD:
            following = next(self._prompts, None)
            if following is None:
                self._ended = True
            else:
                self._line.append(Live(*following))

    def put_back(self, live: Live) -> None:
        """One that has lost its seat is the next to have one."""
        live.cached = 0
        self._line.insert(0, live)

    def next(self, seats: int, *, alone: bool, budget: int) -> list[Live]:
        """Those to be read together now, at most so many; none if none may sit beside those that
        are seated.

        Args:
            alone: nobody is seated: any lane will do.
            budget: tokens of the batch, padding included; one prompt may be longer.
        """
        if alone and self._line:
            self.lane = self._lane_of(self._line[0])
        mine = [live for live in self._line if self._lane_of(live) == self.lane]
        if not mine:
            return []
        first = mine[0]
        # The first, then those whose length is closest to its own; equals in their order.
        close = sorted(mine, key=lambda live: abs(live.length - first.length))
        chosen: list[Live] = []
        longest = 0
        for live in close[:seats]:
            longest = max(longest, live.length)
            if chosen and longest * (len(chosen) + 1) > budget:
                break
            chosen.append(live)
        self._line = [live for live in self._line if live not in chosen]
        return chosen

    def _lane_of(self, live: Live) -> Hashable:
        return ("alone", live.number) if live.alone else self._lane(live.row)
