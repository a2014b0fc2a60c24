"""From a folder of runs to the leaderboard's file."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError
from harness.records import read_runs, write_atomically
from reports.leaderboard import render


def write_report(runs: Path, out: Path) -> tuple[int, list[HarnessError]]:
    """Write the page of all runs under `runs` to `out`.

    Returns:
        How many runs are on it, and why others are not.
    """
    found, broken = read_runs(runs)
    write_atomically(out, render([record for _, record in found]).encode())
    return len(found), broken
