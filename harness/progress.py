"""Progress on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, Self

from harness.types import Prediction

if TYPE_CHECKING:
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 10.0


class Progress(AbstractContextManager["Progress"], Protocol):
    """Told of every batch."""

    def advance(self, predictions: Sequence[Prediction]) -> None: ...


def make(label: str, *, total: int, done: int) -> Progress:
    """What suits stderr."""
    if sys.stderr.isatty():
        return Bar(label, total=total, done=done)
    return Lines(label, total=total, done=done)


class Lines:
    """Prints "label  40/100  2.1 samples/s  310 tokens/s  0:28 left"."""

    def __init__(
        self,
        label: str,
        *,
        total: int,
        done: int,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[str], object] | None = None,
    ) -> None:
        self._label = label
        self._total = total
        self._done = done
        self._here = 0
        self._tokens = 0
        self._clock = clock
        self._write = write or (lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201  # this is what writes
        self._started = self._printed = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._here:
            self._print()

    def advance(self, predictions: Sequence[Prediction]) -> None:
        self._done += len(predictions)
        self._here += len(predictions)
        self._tokens += sum(p.tokens or 0 for p in predictions)
        if self._clock() - self._printed >= SECONDS_BETWEEN_LINES:
            self._print()

    def _print(self) -> None:
        self._printed = self._clock()
        seconds = max(self._printed - self._started, 1e-9)
        rate = self._here / seconds
        self._write(
            f"{self._label}  {self._done}/{self._total}  {rate:.2f} samples/s  "
            f"{self._tokens / seconds:.0f} tokens/s  "
            f"{duration((self._total - self._done) / rate)} left"
        )


class Bar:
    """rich's progress bar, with samples, tokens a second and the time that remains."""

    def __init__(self, label: str, *, total: int, done: int) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._progress = RichProgress(
            TextColumn(escape(label)),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task: TaskID = self._progress.add_task("", total=total, completed=done, speed="")
        self._tokens = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, predictions: Sequence[Prediction]) -> None:
        self._tokens += sum(p.tokens or 0 for p in predictions)
        speed = self._tokens / max(time.monotonic() - self._started, 1e-9)
        self._progress.update(self._task, advance=len(predictions), speed=f"{speed:.0f} tokens/s")


def duration(seconds: float) -> str:
    """3725 -> "1:02:05"."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
