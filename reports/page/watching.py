"""`harness report --watch`: write the page again whenever the runs under it have changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.run.folder import find_runs
from harness.run.layout import STATUS
from harness.run.status import read_status
from reports.inputs import sanitize
from reports.inputs.predictions import RunChanged

BETWEEN_PAGES = 1.0
"""Seconds from one page to the next, at least; and at least what the last one took to make."""
BETWEEN_LOOKS = 0.5
SILENT = 5
"""Minutes after which it is said that a run has not said anything."""
_WATCHED = (".json", ".jsonl")


class Watch:
    """Makes pages as long as it is asked for the next one.

    Args:
        runs: the folder that is watched.
        write: makes the page.
        sleep: as `time.sleep`.
    """

    def __init__(
        self,
        runs: Path,
        write: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._runs = runs
        self._write = write
        self._clock = clock
        self._sleep = sleep
        self._seen: object = None
        self._not_before = -float("inf")

    def look(self) -> bool:
        """Make the page if something has changed and the last one is old enough; returns whether
        it was made."""
        if self._clock() < self._not_before:
            return False
        now = _state(self._runs)
        if now == self._seen:
            return False
        started = self._clock()
        try:
            self._write()
        except RunChanged:
            self._not_before = self._clock() + BETWEEN_PAGES  # it is tried again
            return False
        self._seen = now
        ended = self._clock()
        self._not_before = ended + max(BETWEEN_PAGES, ended - started)
        return True

    def first(self) -> None:
        """Make the first page."""
        while not self.look():
            self._sleep(BETWEEN_LOOKS)

    def forever(self) -> None:
        """Look until the process is interrupted."""
        while True:
            self.look()
            self._sleep(BETWEEN_LOOKS)


def _state(runs: Path) -> list[tuple[str, int, int]]:
    """(path, size, time of change) of every file that a page is made from."""
    found = []
    for path in _files(runs):
        try:
            about = path.stat()
        except OSError:  # it was just replaced or removed
            continue
        found.append((str(path), about.st_size, about.st_mtime_ns))
    return found


def _files(runs: Path) -> Iterator[Path]:
    for pattern in ("*/*/*/*", "distill/*/*"):
        for path in sorted(runs.glob(pattern)):
            if path.suffix in _WATCHED and not path.name.startswith(".") and path.name != STATUS:
                yield path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningRun:
    """A run that goes on, in words and numbers that a page can show."""

    title: str
    done: int
    total: int
    score: str
    """"accuracy 41.2 (36.0 to 46.5)", empty where nothing is scored."""
    seconds_left: float | None
    silent_minutes: int
    """Since it last said something, from `SILENT` on, else 0: it may have been killed."""


def running(runs: Path) -> list[RunningRun]:
    """The runs under a folder that say of themselves that they go on."""
    found = []
    now = time.time()
    for folder in find_runs(runs):
        status = read_status(folder.path)
        if status is None or status.get("status") != "running":
            continue
        task, model, split = folder.path.parts[-3:]
        minutes = int((now - (sanitize.number(status.get("updated")) or 0.0)) / 60)
        found.append(
            RunningRun(
                title=sanitize.text(f"{model} on {task}, {split}"),
                done=sanitize.whole(status.get("done")) or 0,
                total=sanitize.whole(status.get("total")) or 0,
                score=_score(sanitize.mapping(status.get("scores"))),
                seconds_left=sanitize.number(status.get("seconds_left")),
                silent_minutes=minutes if minutes >= SILENT else 0,
            )
        )
    return found


def _score(scores: Any) -> str:
    """The first score, with its interval."""
    for name, about in scores.items():
        value, low, high = (
            sanitize.number(sanitize.mapping(about).get(key)) for key in ("value", "low", "high")
        )
        if value is not None:
            ends = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
            return f"{sanitize.text(name, limit=40)} {value:.3f}{ends}"
    return ""
