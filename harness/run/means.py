"""What can be averaged over tasks: the same metric, and nothing else.

A mean of unlike units (an accuracy, an F1, a BLEU) has no meaning, and there is none here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from harness.run.records import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """The unweighted mean of one metric over the tasks of which it is the decisive one."""

    model: str
    metric: str
    title: str
    unit: str
    tasks: tuple[str, ...]
    value: float
    complete: bool
    """Whether every run of it has all of its questions."""

    @property
    def words(self) -> str:
        """What is averaged over what, as one line."""
        value = f"{100 * self.value:.2f}%" if self.unit == "%" else f"{self.value:.4f}"
        over = f"{len(self.tasks)} tasks ({', '.join(self.tasks)})"
        partial = "" if self.complete else "; not all questions were answered"
        return f"{self.model}: {self.title}, mean of {over}: {value}{partial}"


def means(records: Iterable[RunRecord]) -> list[Mean]:
    """For each model, the mean of each metric that decides two tasks or more. Synthetic questions,
    and questions without a score, are in none."""
    found: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        name = record.decisive
        if name and not record.task.synthetic and _value(record, name) is not None:
            found.setdefault((record.model.name, name), []).append(record)
    return [_mean(name, runs) for (_, name), runs in found.items() if len(runs) > 1]


def _value(record: RunRecord, metric: str) -> float | None:
    return record.metrics[metric].value if metric in record.metrics else None


def _mean(metric: str, records: Sequence[RunRecord]) -> Mean:
    about = records[0].about(metric)
    return Mean(
        model=records[0].model.title,
        metric=metric,
        title=about.title,
        unit=about.unit,
        tasks=tuple(record.task.name for record in records),
        value=fmean(v for record in records if (v := _value(record, metric)) is not None),
        complete=all(record.status == "complete" for record in records),
    )
