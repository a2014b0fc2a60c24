"""The table at the end of several runs: each task by its own metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.core.terminal import MISSING, say, table
from harness.run.figure_text import figure, interval, title
from harness.run.means import means
from harness.run.records import RunRecord

if TYPE_CHECKING:
    from harness.api.several import Failure


def print_summary(records: Sequence[RunRecord], failures: Sequence[Failure]) -> None:
    """Print a row for each run, and for each that could not be made; then the means of metrics that
    several tasks share, each with what it is a mean of."""
    rows = [_row(record) for record in records]
    rows += [
        (each.model, each.task or "all tasks", MISSING, MISSING, MISSING, MISSING, "failed")
        for each in failures
    ]
    table(
        "All runs",
        ("model", "task", "metric", "value", "95% interval", "n", "status"),
        rows,
        drop=("status", "95% interval"),
        wrapped={"metric": 16, "model": 16},
    )
    for mean in means(records):
        say(f"{mean.words}.")
    for each in failures:
        say(f"{each.model} on {each.task or 'all tasks'}: {each.error.what}")


def _row(record: RunRecord) -> tuple[str, ...]:
    name = record.decisive
    known = name is not None and name in record.metrics
    return (
        record.model.title,
        record.task.name,
        title(record, name) if known and name else MISSING,
        figure(record, name) if known and name else MISSING,
        interval(record, name) if known and name else MISSING,
        f"{record.metrics[name].n:,}" if known and name else MISSING,
        record.status,
    )
