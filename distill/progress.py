"""Training's progress on stderr: steps, time left, tokens a second, loss."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, Self

from harness.progress import SECONDS_BETWEEN_LINES, duration

if TYPE_CHECKING:
    from rich.progress import TaskID


class Progress(AbstractContextManager["Progress"], Protocol):
    """Told of every step."""

    def advance(self, *, tokens: int = 0, loss: float | None = None) -> None: ...


class Make(Protocol):
    """Begins to show something of `total` steps, of which `done` are done already."""

    def __call__(self, label: str, *, total: int, done: int) -> Progress: ...


class Silent:
    """Shows nothing."""

    def __init__(self, label: str, *, total: int, done: int) -> None:
        del label, total, done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, *, tokens: int = 0, loss: float | None = None) -> None:
        pass


def make(label: str, *, total: int, done: int) -> Progress:
    """What suits stderr: a bar on a terminal, a plain line now and then elsewhere."""
    if sys.stderr.isatty():
        return Bar(label, total=total, done=done)
    return Lines(label, total=total, done=done)


class Lines:
    """Prints "training  40/125  3120 tokens/s  loss 0.812  0:01:28 left"."""

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
        self._loss: float | None = None
        self._clock = clock
        self._write = write or (lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201  # this is what writes
        self._started = self._printed = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._here:
            self._print()

    def advance(self, *, tokens: int = 0, loss: float | None = None) -> None:
        self._done += 1
        self._here += 1
        self._tokens += tokens
        self._loss = loss
        if self._clock() - self._printed >= SECONDS_BETWEEN_LINES:
            self._print()

    def _print(self) -> None:
        self._printed = self._clock()
        seconds = max(self._printed - self._started, 1e-9)
        left = duration((self._total - self._done) * seconds / self._here)
        words = _figures(self._tokens / seconds, self._loss)
        self._write("  ".join([self._label, f"{self._done}/{self._total}", *words, f"{left} left"]))


class Bar:
    """The same as rich's progress bar."""

    def __init__(self, label: str, *, total: int, done: int) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._progress = RichProgress(
            TextColumn(escape(label)),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task: TaskID = self._progress.add_task("", total=total, completed=done, figures="")
        self._tokens = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, *, tokens: int = 0, loss: float | None = None) -> None:
        self._tokens += tokens
        speed = self._tokens / max(time.monotonic() - self._started, 1e-9)
        self._progress.update(self._task, advance=1, figures="  ".join(_figures(speed, loss)))


def _figures(tokens_per_second: float, loss: float | None) -> list[str]:
    if loss is None:
        return []
    return [f"{tokens_per_second:.0f} tokens/s", f"loss {loss:.3f}"]
