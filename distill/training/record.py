"""The folder of a training run: its record, what differs from an earlier run, a full disk.

This module alone knows distill.json.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.config import FORMER, DistillConfig
from distill.examples import Example
from distill.layout import (
    ADAPTER,
    BEST,
    CHECKPOINTS,
    CURVE,
    EVALUATIONS,
    LOG,
    SIGHT,
    STUDENT,
    TRAINING,
)
from distill.objectives import objective_of, own_settings
from distill.training import checkpointing
from distill.training.card import Sources
from harness.core.errors import DataError, Exit, HarnessError
from harness.core.files.json_files import read_json, write_json
from harness.core.files.set_aside import set_aside
from harness.core.progress import Make
from harness.tracking.trackers import TRACKING_RECORD, Trackers

log = logging.getLogger(__name__)

FORMAT = 1
_PARTS = (
    *(TRAINING, LOG, EVALUATIONS, CURVE, CHECKPOINTS, BEST),
    *(STUDENT, ADAPTER, SIGHT, TRACKING_RECORD),
)
"""What `--fresh` moves aside; image features stay, as another run may use them as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """The folder of a run and what is recorded of it."""

    out: Path
    """The folder."""
    config: DistillConfig
    sources: Sources
    record: dict[str, Any]
    """distill.json, filled in during the run."""
    progress: Make
    trackers: Trackers = field(default_factory=Trackers)

    @property
    def checkpoints(self) -> Path:
        return self.out / CHECKPOINTS

    def write_record(self) -> None:
        write_json(self.out / TRAINING, self.record)

    def move_old_aside(self) -> None:
        """Move what an earlier run left in the folder to a folder next to it."""
        with self.writing():
            if aside := set_aside((self.out / name for name in _PARTS), self.out):
                log.info("The run that was there is now %s", aside)

    def count(
        self, examples: Sequence[Example], usable: Sequence[Example], left_out: Mapping[str, str]
    ) -> None:
        """Record how many examples are learned, and why the others are not.

        Args:
            left_out: sample id -> reason.
        """
        self.record["counts"] = {
            "examples": len(examples),
            "used": len(usable),
            "left_out": count_reasons(left_out),
            "left_out_ids": dict(left_out),
            "by_topic": dict(Counter(e.sample.topic for e in usable).most_common()),
        }

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn a full disk into an error for the user."""
        from safetensors import SafetensorError

        try:
            yield
        except (OSError, SafetensorError) as error:
            raise HarnessError(
                f"{self.out} cannot be written to: {error}.",
                known=self.last_checkpoint(),
                remedy="Make room and run the same command again to resume.",
                code=Exit.UNEXPECTED,
            ) from error

    def last_checkpoint(self) -> str:
        """The sentence that says where the run can be resumed."""
        path = checkpointing.latest(self.checkpoints)
        return f"Last good checkpoint: {path}." if path else "There is no checkpoint yet."


def new_record(
    fingerprint: Mapping[str, Any],
    config: DistillConfig,
    base: Path,
    *,
    old: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """distill.json of a run that begins or, with the `old` one, resumes."""
    objective = objective_of(config)
    return {
        "format": FORMAT,
        "status": "running",
        "fingerprint": fingerprint,
        "config": config.to_json(),
        "objective": {
            "name": objective.name,
            "title": objective.title,
            "style": objective.style,
            "settings": own_settings(objective, config),
        },
        "base": base.name,
        "student": STUDENT,
        "started": old["started"] if old else now(),
        "finished": None,
        "sessions": [*(old or {}).get("sessions", ())],
    }


def read_record(out: Path) -> dict[str, Any] | None:
    """distill.json of `out`, its fingerprint by the present names of fields; None where there is
    none.

    Raises:
        DataError: it is no such record, or that of a newer harness.
    """
    path = out / TRAINING
    remedy = "Use --fresh to move the run aside and start over."
    try:
        record = read_json(path, remedy=remedy)
        if record["format"] > FORMAT:
            raise DataError(f"{path} was written by a newer harness.", remedy="Update harness.")
        for name in ("fingerprint", "status", "started"):
            record[name]
        known = {FORMER.get(name, name): value for name, value in record["fingerprint"].items()}
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not the record of a training run: {type(error).__name__} {error}.",
            remedy=remedy,
        ) from error
    return {**record, "fingerprint": known}


def count_reasons(left_out: Mapping[str, str]) -> dict[str, int]:
    """Reason -> examples, without what is particular to each; `left_out` is sample id -> reason."""
    return dict(Counter(reason.partition(": ")[0] for reason in left_out.values()))


def now() -> str:
    """The time as records have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
