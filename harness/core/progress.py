"""Progress on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, Self

from harness.core.terminal import harmless

if TYPE_CHECKING:
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 10.0
_ignored = contextlib.suppress(OSError, ValueError)
"""Progress is no result: a line that cannot be written, or a closed stream, stops nothing."""


class Progress(AbstractContextManager["Progress"], Protocol):
    """Shows progress: `advance` after each batch or step."""

    def advance(self, count: int = 1, *, tokens: int = 0, loss: float | None = None) -> None: ...


class Make(Protocol):
    """Starts a display for `total` pieces, of which `done` are done already."""

    def __call__(self, label: str, *, total: int, done: int, unit: str = "") -> Progress: ...


class Silent:
    """Shows nothing."""

    def __init__(self, label: str, *, total: int, done: int, unit: str = "") -> None:
        del label, total, done, unit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, count: int = 1, *, tokens: int = 0, loss: float | None = None) -> None:
        pass


def make(label: str, *, total: int, done: int, unit: str = "") -> Progress:
    """The progress display for stderr. `unit`: what is counted, if its rate is to be shown."""
    if sys.stderr is None:  # it was closed before Python began
        return Silent(label, total=total, done=done, unit=unit)
    shown = Bar if sys.stderr.isatty() else Lines
    return shown(label, total=total, done=done, unit=unit)


class Lines:
    """Prints "label  40/100  2.10 samples/s  310 tokens/s  0:28 left"."""

    def __init__(
        self,
        label: str,
        *,
        total: int,
        done: int,
        unit: str = "",
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[str], object] | None = None,
    ) -> None:
        self._label = harmless(label)
        self._total = total
        self._done = self._told = done
        self._unit = unit
        self._here = 0
        self._tokens = 0
        self._loss: float | None = None
        self._clock = clock
        self._write = write or (lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201  # this is what writes
        self._started = self._printed = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._told < self._done:
            self._print()

    def advance(self, count: int = 1, *, tokens: int = 0, loss: float | None = None) -> None:
        self._done += count
        self._here += count
        self._tokens += tokens
        self._loss = loss
        if self._here and self._clock() - self._printed >= SECONDS_BETWEEN_LINES:
            self._print()

    def _print(self) -> None:
        self._printed, self._told = self._clock(), self._done
        seconds = max(self._printed - self._started, 1e-9)
        rate = self._here / seconds
        pieces = [f"{rate:.2f} {self._unit}/s"] if self._unit else []
        pieces += _figures(self._tokens / seconds, self._loss)
        left = duration((self._total - self._done) / rate)
        place = f"{self._done}/{self._total}"
        with _ignored:
            self._write("  ".join([self._label, place, *pieces, f"{left} left"]))


class Bar:
    """The same as rich's progress bar, which shows the remaining time."""

    def __init__(self, label: str, *, total: int, done: int, unit: str = "") -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._progress = RichProgress(
            TextColumn(escape(harmless(label))),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task: TaskID = self._progress.add_task("", total=total, completed=done, figures="")
        self._tokens = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        with _ignored:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        with _ignored:
            self._progress.stop()

    def advance(self, count: int = 1, *, tokens: int = 0, loss: float | None = None) -> None:
        self._tokens += tokens
        speed = self._tokens / max(time.monotonic() - self._started, 1e-9)
        with _ignored:
            figures = "  ".join(_figures(speed, loss))
            self._progress.update(self._task, advance=count, figures=figures)


def _figures(tokens_per_second: float, loss: float | None) -> list[str]:
    figures = [f"{tokens_per_second:.0f} tokens/s"] if tokens_per_second else []
    return figures if loss is None else [*figures, f"loss {loss:.3f}"]


def duration(seconds: float) -> str:
    """3725 -> "1:02:05"."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
