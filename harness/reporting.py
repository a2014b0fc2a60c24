"""From a folder of runs to the leaderboard's file."""

from __future__ import annotations

from pathlib import Path

from harness.records import find_runs, write_atomically
from reports.leaderboard import render


def write_report(runs: Path, out: Path) -> int:
    """Write the page of all runs under `runs` to `out`; returns how many there are."""
    records = [record for folder in find_runs(runs) if (record := folder.read_record())]
    write_atomically(out, render(records).encode())
    return len(records)
