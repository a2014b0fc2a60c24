"""Students of finished distillations below a results folder.

RUNS/distill/NAME/distill.json    the record of the training, see distill.training.record
"""

from __future__ import annotations

from pathlib import Path

from harness.core.errors import Exit, HarnessError
from harness.core.files.json_files import load_json

DISTILLATIONS = "distill"
TRAINING = "distill.json"


def finished_students(runs: Path) -> list[tuple[str, int, str]]:
    """The time at which each student under `runs` was finished, and its folder; unordered.

    A control, which learned answers without rationales, does not count.

    Raises:
        HarnessError: a record cannot be read (exit 3).
    """
    finished: list[tuple[str, int, str]] = []
    for path in (runs / DISTILLATIONS).glob(f"*/{TRAINING}"):
        try:
            record = load_json(path)
            if record["status"] == "complete" and record["config"]["target"] == "structured":
                # Records have whole seconds: within one, the file that was written last counts.
                when = str(record["finished"]), path.stat().st_mtime_ns
                finished.append((*when, str(path.parent / record["student"])))
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise HarnessError(f"{path} cannot be read: {error}.", code=Exit.MISSING) from error
    return finished
