"""status.json of a run: how far it is, for whoever watches it or scripts around it.

It is replaced at once: while answers come in, at most once a second and in a fiftieth of the time,
and when the run ends or stops. Nothing depends on it: run.json and predictions.jsonl are the run.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.core.files.json_files import load_json, write_json
from harness.core.types import Prediction
from harness.metrics.statistics import Z_95, Interval, standard_error, wilson
from harness.run.layout import SHARDS, STATUS
from harness.run.records import RunRecord

SECONDS_BETWEEN = 1.0
SHARE = 0.02
"""Of the time between two, that writing may take: its scores go over all answers so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The mean of a score over the answers so far, with its 95% interval."""

    value: float
    n: int
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What status.json holds."""

    status: str
    """As in run.json: running, interrupted, partial, complete."""
    done: int
    """Samples with an answer, those that failed included."""
    total: int
    """Samples that are asked for."""
    failed: int = 0
    unparsed: int = 0
    scores: Mapping[str, Score] = field(default_factory=dict)
    """By metric; of this process's answers where several processes answer."""
    seconds_left: float | None = None
    """At the pace of this process so far; None: not known, or nothing is left."""
    updated: float = 0.0
    """Seconds since 1970."""


class StatusWriter:
    """Writes how far a run is.

    Args:
        folder: of the run, or of one process's shard of it.
        total: samples that are asked for.
        done: those that were answered before.
    """

    def __init__(
        self, folder: Path, *, total: int, done: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = status_path(folder)
        self._total = total
        self._before = done
        self._clock = clock
        self._started = clock()
        self._not_before = -math.inf

    def update(self, predictions: Sequence[Prediction], *, done: int) -> None:
        """Write what there is now, unless that was done a moment ago.

        Args:
            predictions: of this process, and of those before it.
            done: samples that are answered, by all processes.
        """
        now = self._clock()
        if now < self._not_before:
            return
        here, left = done - self._before, self._total - done
        pace = (now - self._started) / here if here > 0 else None
        answered = [p for p in predictions if p.error is None]
        _write(
            self._path,
            Status(
                status="running",
                done=done,
                total=self._total,
                failed=len(predictions) - len(answered),
                unparsed=sum(p.answer is None for p in answered),
                scores=scores_so_far(answered),
                seconds_left=pace * left if pace is not None and left > 0 else None,
                updated=time.time(),
            ),
        )
        self._not_before = now + max(SECONDS_BETWEEN, (self._clock() - now) / SHARE)


def write_final(folder: Path, record: RunRecord, *, total: int) -> None:
    """Write the state in which a run is left; a shard of one has none."""
    if folder.parent.name == SHARDS:
        return
    counts = record.counts
    scores = {
        name: Score(value=found.value, n=found.n, low=found.low, high=found.high)
        for name, found in record.metrics.items()
        if "/" not in name and found.value is not None
    }
    _write(
        status_path(folder),
        Status(
            status=record.status,
            done=counts.done,
            total=total,
            failed=counts.failed,
            unparsed=counts.unparsed,
            scores=scores,
            updated=time.time(),
        ),
    )


def read_status(folder: Path) -> Mapping[str, Any] | None:
    """What status.json says; None where there is none that can be read. It may come from anywhere:
    its values may be of any type."""
    try:
        found = load_json(folder / STATUS)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def status_path(folder: Path) -> Path:
    """Where the status of a run is, whose shard `folder` may be."""
    return (folder.parent.parent if folder.parent.name == SHARDS else folder) / STATUS


def scores_so_far(predictions: Sequence[Prediction]) -> dict[str, Score]:
    """The mean of each score that single answers have."""
    found: dict[str, list[float]] = {}
    for prediction in predictions:
        for name, value in prediction.scores.items():
            found.setdefault(name, []).append(value)
    made = {}
    for name, values in found.items():
        mean, ends = sum(values) / len(values), _interval(values)
        low, high = ends or (None, None)
        made[name] = Score(value=mean, n=len(values), low=low, high=high)
    return made


def _interval(values: Sequence[float]) -> Interval | None:
    """Wilson's of right and wrong answers, else the normal one; None of a single graded answer."""
    if all(value in (0, 1) for value in values):
        return wilson(int(sum(values)), len(values))
    if len(values) < 2:
        return None
    mean, half = sum(values) / len(values), Z_95 * standard_error(values)
    return Interval(mean - half, mean + half)


def _write(path: Path, status: Status) -> None:
    with contextlib.suppress(OSError):  # a full disk stops the run elsewhere, not here
        write_json(path, asdict(status))
