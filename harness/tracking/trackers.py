"""The trackers of one run as one. Without any, logging does nothing; with one that fails, nothing
more for that one."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.core import processes
from harness.core.errors import HarnessError
from harness.core.files.json_files import read_json, write_json
from harness.core.interrupts import interrupts
from harness.core.tracking_options import TrackerName
from harness.tracking.registry import TRACKERS
from harness.tracking.tracker import Picture, Start, Table, TrackedRun, Tracker

log = logging.getLogger(__name__)

TRACKING_RECORD = "tracking.json"
"""In a run's folder: the id by which its trackers know it."""


class Trackers:
    """The trackers that a run's options name, closed at the end of a `with` block.

    Of several processes the first one tracks.

    Args:
        run: None: nothing is tracked.
    """

    def __init__(self, run: TrackedRun | None = None) -> None:
        first = run is not None and bool(run.options.trackers) and processes.here().first
        self._run = run if first else None
        self._started: dict[TrackerName, Tracker] = {}
        self._id: str | None = None
        self._is_kept = False

    @property
    def are_wanted(self) -> bool:
        """Whether this process tracks the run."""
        return self._run is not None

    @property
    def samples(self) -> int:
        """The maximum number of samples to log; 0 where nothing is tracked."""
        return self._run.options.samples if self._run else 0

    def begin(self, configuration: Mapping[str, Any], *, step: int, fresh: bool = False) -> None:
        """Start the trackers, unless they are started.

        Args:
            step: the last one that earlier processes took.
            fresh: what is in the run's folder is another run's, until this one logs something.
        """
        run = self._run
        if run is None or self._id is not None:
            return
        known = None if fresh else _read_id(run.home)
        self._id = known or secrets.token_hex(4)
        if not fresh:
            self._keep_id(run.home)
        start = Start(
            id=self._id, resumed=known is not None, step=step, configuration=configuration
        )
        for name in run.options.trackers:
            with self._guarded(name):
                tracker = TRACKERS[name].start(run, start)
                self._started[name] = tracker
                log.info("--track %s: %s", name, tracker.place)

    def log_metrics(self, values: Mapping[str, float | None], *, step: int) -> None:
        """Log the metrics that have a finite value."""
        if self._run is not None and self._id is not None and not self._is_kept:
            self._keep_id(self._run.home)
        found = {k: float(v) for k, v in values.items() if v is not None and math.isfinite(v)}
        for name, tracker in self._each():
            with self._guarded(name), interrupts.shielded():
                tracker.log_metrics(found, step=step)

    def log_pictures(self, title: str, pictures: Sequence[Picture], *, step: int) -> None:
        """Log pictures with their captions."""
        for name, tracker in self._each():
            with self._guarded(name), interrupts.shielded():
                tracker.log_pictures(title, pictures, step=step)

    def log_table(self, title: str, table: Table, *, step: int) -> None:
        """Log a table."""
        for name, tracker in self._each():
            with self._guarded(name), interrupts.shielded():
                tracker.log_table(title, table, step=step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name, tracker in self._each():
            with self._guarded(name):
                tracker.close(failed=error is not None)
        self._started.clear()

    def _each(self) -> list[tuple[TrackerName, Tracker]]:
        return [*self._started.items()]

    @contextlib.contextmanager
    def _guarded(self, name: TrackerName) -> Iterator[None]:
        """Go on without a tracker that fails."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # a library's own, or the network's or the disk's
            self._started.pop(name, None)
            reason = without_keys(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
            log.warning("--track %s failed; the run goes on without it: %s", name, reason)

    def _keep_id(self, home: Path) -> None:
        self._is_kept = True
        with contextlib.suppress(OSError):  # the run itself will say so
            write_json(home / TRACKING_RECORD, {"id": self._id})


def _read_id(home: Path) -> str | None:
    """The id of the run in this folder; None where none is known."""
    with contextlib.suppress(FileNotFoundError, HarnessError):
        record = read_json(home / TRACKING_RECORD)
        known = record.get("id") if isinstance(record, dict) else None
        if isinstance(known, str) and re.fullmatch("[0-9a-z]{1,64}", known):
            return known
    return None


def without_keys(text: str) -> str:
    """The text with the values of keys and tokens in the environment left out."""
    for name, value in os.environ.items():
        if re.search("KEY|TOKEN|SECRET|PASSWORD", name.upper()) and len(value) >= 8:
            text = text.replace(value, f"({name})")
    return text
