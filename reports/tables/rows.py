"""A run as a row of a table."""

from __future__ import annotations

from collections.abc import Iterable

from harness.run.records import RunRecord
from reports.inputs import runs
from reports.tables.table import Cell, Row


def run_row(run: RunRecord, cells: Iterable[Cell]) -> Row:
    """The row of a run, with these cells; it leads to the run's provenance."""
    return Row(
        title=runs.title(run),
        size=runs.size(run),
        role=runs.role(run),
        origin=runs.origin(run),
        run=runs.run_id(run),
        cells=tuple(cells),
    )
