"""Students of finished distillations below a results folder.

RUNS/distill/NAME/distill.json    the record of the training, see distill.training.record
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.errors import Exit, HarnessError
from harness.core.files.json_files import load_json

DISTILLATIONS = "distill"
TRAINING = "distill.json"


def finished_students(runs: Path) -> list[tuple[str, int, str]]:
    """The time at which each student under `runs` was finished, and its folder; unordered.

    One that answers without a rationale, such as a control, does not count.

    Raises:
        HarnessError: a record cannot be read (exit 3).
    """
    finished: list[tuple[str, int, str]] = []
    for path in (runs / DISTILLATIONS).glob(f"*/{TRAINING}"):
        try:
            record = load_json(path)
            if record["status"] == "complete" and _reasons(record):
                # Records have whole seconds: within one, the file that was written last counts.
                when = str(record["finished"]), path.stat().st_mtime_ns
                finished.append((*when, str(path.parent / record["student"])))
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise HarnessError(f"{path} cannot be read: {error}.", code=Exit.MISSING) from error
    return finished


def _reasons(record: Mapping[str, Any]) -> bool:
    """Whether the student writes rationales; records of earlier versions name its target."""
    objective = record.get("objective")
    style = objective["style"] if objective else record["config"]["target"]
    return bool(style == "structured")
