"""Messages on stderr: errors, failed samples, and the process that they are from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.core import processes
from harness.core.errors import HarnessError
from harness.core.terminal import harmless, say

if TYPE_CHECKING:
    from harness.run.scoring import Run


SHOWN = 5
"""The most lines of one kind on stderr."""


def show_error(error: HarnessError) -> HarnessError:
    """Print an error on stderr, and return it."""
    lines = [harmless(line) for line in str(error).splitlines()]
    say(process_label() + "\n  ".join([f"Error: {lines[0]}", *lines[1:]]), err=True)
    return error


def print_first(lines: Sequence[str], what: str, where: str) -> None:
    """Print the first lines on stderr, and where the others are."""
    for line in lines[:SHOWN]:
        say(f"{what}: {line}", err=True)
    if len(lines) > SHOWN:
        say(f"... and {len(lines) - SHOWN:,} more; {where}", err=True)


def print_failures(run: Run) -> None:
    """Print the first failed samples with their errors on stderr."""
    from harness.run.folder import RunFolder
    from harness.run.layout import PREDICTIONS

    if not run.record.counts.failed:
        return
    predictions = RunFolder(run.folder).read_predictions()
    failed = [f"{p.sample_id}: {p.error}" for p in predictions if p.error is not None]
    print_first(failed, "Failed", f"see `error` in {run.folder / PREDICTIONS}")


def print_silence(run: Run) -> None:
    """Print an error where every answer of a run is empty."""
    if not run.record.is_silent:
        return
    asked = run.record.settings.get("mode") == "generate"
    template = "A chat template or a --style that is not the model's own is likely."
    show_error(
        HarnessError(
            f"Every one of {run.record.counts.empty:,} answers is empty.",
            known="The model ended each of them at once." if asked else "",
            remedy=template if asked else "",
        )
    )


class Harmless(logging.Formatter):
    """Escape control characters: log records can hold text from data and from models."""

    def format(self, record: logging.LogRecord) -> str:

        return process_label() + harmless(super().format(record))


def process_label() -> str:
    """A prefix that names this process among several; empty for the first."""
    number = rank()
    return f"[process {number}] " if number else ""


def rank() -> int:
    """The rank of this process; 0 where it is unclear, as commands that need it raise the error."""
    try:
        return processes.here().rank
    except HarnessError:
        return 0
