"""The loop: seat who waits, take a step with all who are seated, let go who is finished."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from transformers import Cache

from harness.core.errors import NOT_FINITE, SampleError
from harness.engine.batching import Live, Waiting
from harness.engine.cache import SeatCache
from harness.engine.graphs import NO_TOKEN, Steps, likeliest
from harness.engine.rows import Row
from harness.engine.sizing import Seen, is_out_of_memory, release

log = logging.getLogger(__name__)

READ_AT_ONCE = 8192
"""Tokens of prompts that are read in one pass: more would need memory and gain nothing."""
SHARE = 8
"""Seats are filled again when one in so many is free: prompts that are read together take less than
one after the other, which outweighs that a few seats wait."""
ROOM = 64
"""Seats grow by so many tokens at a time."""


class Reader(Protocol):
    """What the engine needs of a model: to see, to read a prompt, to write one token."""

    device: torch.device
    fixed: Collection[int]
    """Layers whose keys are made with the prompt and stay as they are."""
    border: int | None
    """A row that grows beyond so many tokens has to be read anew; None: none has."""

    def lane(self, row: Row) -> Hashable:
        """Rows of different lanes cannot be in one batch."""

    def look(self, rows: Sequence[Row]) -> list[torch.Tensor]:
        """What is in the pictures of each row; all of them have some."""

    def read(
        self, rows: Sequence[Row], seen: Sequence[torch.Tensor | None]
    ) -> tuple[torch.Tensor, Cache, Mapping[str, torch.Tensor]]:
        """Logits behind each row, (B, V), the keys and values of all its tokens, padded on the
        left, and what `write` wants to be reminded of, a row for each."""

    def write(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        valid: torch.Tensor,
        cache: SeatCache,
    ) -> torch.Tensor:
        """One token further: (B,), (B,) and (B, reach) of bool -> logits (B, V)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """When a row is finished."""

    most: int
    """Tokens that it may write."""
    ends: frozenset[int]
    """Tokens behind which there is nothing more."""
    has_stopped: Callable[[Sequence[int]], bool] | None = None
    """Whether what was written contains the text that ends an answer."""
    context: int | None = None
    """Tokens that prompt and answer may have together; None: any number."""

    def met(self, tokens: Sequence[int], prompt: int) -> bool:
        """Whether there is nothing to follow these tokens, written behind so many of a prompt."""
        if tokens[-1] in self.ends or len(tokens) >= self.most:
            return True
        if self.context is not None and prompt + len(tokens) > self.context:
            return True
        return self.has_stopped is not None and self.has_stopped(tokens)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one prompt."""

    number: int
    row: Row
    tokens: Sequence[int]
    """Up to and with its end token."""
    seconds: float
    """Its equal shares of the passes that it took part in."""
    error: Exception | None = None


class Engine:
    """Decodes greedily, as many rows at once as there are seats.

    Time is shared equally: that of a step by the rows in it, that of reading prompts by those that
    are read. So the seconds of all rows add up to the time that the engine was at work.

    Args:
        seats: rows at once; halved for good where memory runs out.
        seen: what was seen in pictures, kept from one run to the next.
        room: tokens that each seat has room for from the start; they grow as prompts need it.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        seats: int,
        rules: Rules,
        seen: Seen,
        room: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.seats = seats
        self._asked = seats
        self._reader = reader
        self._rules = rules
        self._seen = seen
        self._room = room
        self._clock = clock
        self._seated: list[Live] = []  # the i-th has seat i: the batch has no gaps
        self._allocate()

    def _allocate(self) -> None:
        self._cache = SeatCache(self.seats, fixed=self._reader.fixed)
        self._steps = Steps(self._reader, self._cache)

    @torch.inference_mode()
    def run(self, prompts: Iterator[tuple[int, Row]]) -> Iterator[Written]:
        """Each prompt's tokens, as soon as it is finished."""
        waiting = Waiting(prompts, self._reader.lane)
        while waiting or self._seated:
            if not self._seated or self.seats - len(self._seated) >= self.seats / SHARE:
                yield from self._seat(waiting)
            if self._seated:
                yield from self._step(waiting)

    def _seat(self, waiting: Waiting) -> Iterator[Written]:
        """Fill the free seats."""
        while free := self.seats - len(self._seated):
            waiting.pull(free)
            alone = not self._seated
            lane = waiting.lane
            chosen = waiting.next(free, alone=alone, budget=READ_AT_ONCE)
            if not chosen:
                return
            if waiting.lane != lane:
                self._allocate()
            yield from self._read(chosen, waiting)

    def _read(self, chosen: list[Live], waiting: Waiting) -> Iterator[Written]:
        """Read some prompts and seat those that are not finished with their first token. A batch
        that fails is halved, until the prompt that does it, or the size that fits, is found."""
        started = self._clock()
        try:
            tokens = self._take_in(chosen)
        except Exception as error:  # noqa: BLE001  # here a bad sample becomes an error row
            share = (self._clock() - started) / len(chosen)
            for live in chosen:
                live.seconds += share
            release(self._reader.device)
            if len(chosen) > 1:
                middle = len(chosen) // 2
                yield from self._read(chosen[:middle], waiting)
                yield from self._read(chosen[middle:], waiting)
            elif is_out_of_memory(error) and self.seats > 1:
                waiting.put_back(chosen[0])
                self._make_room(waiting, error)
            else:
                yield _written(chosen[0], error)
                if is_out_of_memory(error):  # the others may well fit
                    self.seats = self._asked
                    self._allocate()
            return
        share = (self._clock() - started) / len(chosen)
        for live in chosen:
            live.seconds += share
        yield from self._finish(chosen, tokens)

    def _take_in(self, chosen: Sequence[Live]) -> list[int]:
        """Read prompts and give them the seats behind those that are taken; returns the first token
        of each."""
        rows = [live.to_read for live in chosen]
        logits, prompts, extras = self._reader.read(rows, self._seen.of(rows, self._reader.look))
        first = len(self._seated)
        seats = range(first, first + len(chosen))
        lengths = [row.length for row in rows]
        most = max(self._room, max(live.row.length for live in chosen) + self._rules.most)
        self._cache.reserve(-(-most // ROOM) * ROOM)
        self._cache.seat(seats, prompts, lengths, extras)
        tokens = likeliest(logits)
        self._steps.tokens[first : seats.stop] = tokens
        self._steps.positions[first : seats.stop] = torch.tensor(lengths)
        found: list[int] = tokens.tolist()
        for live, length in zip(chosen, lengths, strict=True):
            live.cached = length
        self._seated += chosen
        return found

    def _step(self, waiting: Waiting) -> Iterator[Written]:
        """One token for everybody who is seated."""
        if self._reader.border is not None:
            for live in [live for live in self._seated if live.cached == self._reader.border]:
                self._leave(live)
                waiting.put_back(live)
            if not self._seated:
                return
        started = self._clock()
        rows = len(self._seated)
        try:
            reach = max(live.cached for live in self._seated) + 1
            # The only wait for the device: who has ended is not in the next step.
            found: list[int] = self._steps.run(rows, reach).tolist()
        except Exception as error:  # noqa: BLE001  # as above
            if rows == 1:
                yield _written(self._seated.pop(), error)
            elif is_out_of_memory(error):
                self._make_room(waiting, error)
            else:
                self._take_apart(waiting)
            return
        share = (self._clock() - started) / rows
        for live in self._seated:
            live.seconds += share
            live.cached += 1
        yield from self._finish(list(self._seated), found)

    def _finish(self, lives: Sequence[Live], tokens: Sequence[int]) -> Iterator[Written]:
        """Add a token to each row, and let those go whose last one it was."""
        done: list[tuple[Live, Exception | None]] = []
        for live, token in zip(lives, tokens, strict=True):
            if token == NO_TOKEN:
                done.append((live, SampleError(NOT_FINITE)))
                self._cache.wipe(self._seated.index(live))
                continue
            live.tokens.append(token)
            if self._rules.met(live.tokens, live.row.length):
                done.append((live, None))
        for live, _ in done:
            self._leave(live)
        for live, error in done:
            yield _written(live, error)

    def _leave(self, live: Live) -> None:
        """Take a seat away; who sits last moves there, so that the batch has no gaps."""
        seat, last = self._seated.index(live), len(self._seated) - 1
        if seat != last:
            mover = self._seated[last]
            self._cache.move(last, seat, mover.cached)
            self._steps.move(last, seat)
            self._seated[seat] = mover
        self._seated.pop()

    def _take_apart(self, waiting: Waiting) -> None:
        """Go on with each row alone, to find the one that makes a step fail."""
        for live in reversed(self._seated):
            live.alone = True
            waiting.put_back(live)
        self._seated = []

    def _make_room(self, waiting: Waiting, error: Exception) -> None:
        """Go on with half the seats. Nothing is lost: who loses a seat is read again, with what it
        has written."""
        self.seats = max(1, self.seats // 2)
        log.warning(
            "Out of memory; going on with %d at a time: %s", self.seats, str(error).split("\n")[0]
        )
        for live in reversed(self._seated):
            waiting.put_back(live)
        self._seated = []
        self._seen.clear()
        del self._cache, self._steps
        release(self._reader.device)
        self._allocate()


def _written(live: Live, error: Exception | None = None) -> Written:
    return Written(live.number, live.row, tuple(live.tokens), live.seconds, error)
