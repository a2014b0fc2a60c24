"""The part of a run that one process answers, and its entry in run.json."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.core.types import Prediction
from harness.run.folder import RunFolder
from harness.run.records import RunRecord

log = logging.getLogger(__name__)


class Session:
    """One process that answers a run.

    Args:
        record: of the run, without this session.
        answered: the predictions of earlier processes.
        about: what is known of the session at its start.
        measured: returns what is known of the session at the moment.
        replaces: another run is in the folder, and is kept until there is an answer to replace it.
    """

    def __init__(
        self,
        folder: RunFolder,
        record: RunRecord,
        answered: Sequence[Prediction],
        *,
        about: Mapping[str, Any],
        measured: Callable[[], Mapping[str, Any]],
        replaces: bool = False,
    ) -> None:
        self.predictions = list(answered)
        self.waits = replaces
        """Whether nothing is on disk yet."""
        self._folder = folder
        self._record = record
        self._before = len(answered)
        self._about = dict(about)
        self._measured = measured

    def begin(self, *, settings: Mapping[str, Any] | None = None, **about: Any) -> None:
        """Record what is known now. If the process is killed, nothing more is: see
        `harness.core.timing.settled`."""
        self._record = replace(self._record, settings={**self._record.settings, **(settings or {})})
        self._about |= about
        if not self.waits:
            started = {**self._about, "samples": None, "energy_joules": None}
            sessions = [*self._record.sessions, started]
            self._folder.write_record(replace(self._record, status="running", sessions=sessions))

    def add(self, new: Sequence[Prediction]) -> None:
        """Add predictions, on disk from the first answer on."""
        self.predictions += new
        if not self.waits:
            self._folder.append(new)
        elif any(prediction.error is None for prediction in new):
            log.info("The run that was there is now %s", self._folder.move_aside())
            self.waits = False
            self.begin()
            self._folder.append(self.predictions)

    def record(self, status: str) -> RunRecord:
        """The run's record with this session."""
        ours = {
            **self._about,
            "samples": len(self.predictions) - self._before,
            "answered_until": time.time(),
            **self._measured(),
        }
        return replace(self._record, status=status, sessions=[*self._record.sessions, ours])
