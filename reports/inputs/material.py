"""What a report is made of: runs with their predictions, distillations with their files.

The tables, charts and pages see these and nothing else; `reports.inputs.discovery` makes them from
files. Everything large is read when it is asked for. Whatever a mapping holds may come from
anywhere: see `reports.inputs.sanitize`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from harness.core.images import ImageRef
from harness.core.types import Metric, Prediction, Task
from harness.metrics.figures import described_by
from harness.run.records import RunRecord
from harness.run.scores import known_metric
from reports.inputs.predictions import PredictionsFile
from tasks import TASKS, load_task

Rows = Callable[[], Sequence[Mapping[str, Any]]]
"""Reads the objects of a JSONL file; those that cannot be read are left out."""


SampleChoice = Literal["all", "errors", "none"]
"""The samples that can be looked at on the page; errors: those that some run got wrong."""


def _none() -> tuple[()]:
    """For what is not there: no rows, no answers."""
    return ()


@dataclass(frozen=True, slots=True)
class RunData:
    """A run: its record and its predictions."""

    record: RunRecord
    predictions: Callable[[], Sequence[Prediction]] = _none
    """Reads the answers, in the data's order; none where they are missing. Large: call it once,
    and do not keep what it returns longer than needed."""
    task: Task | None = None
    """A user's own task, where its file is named: its metrics can score again."""
    file: PredictionsFile | None = None
    """Where the answers are on disk; None: in memory alone."""

    @property
    def known_task(self) -> Task | None:
        """The task, if its code is at hand."""
        name = self.record.task.name
        return self.task or (load_task(name) if name in TASKS else None)

    def code(self, name: str) -> Metric | None:
        """A metric that scores no sample by itself, if its code is at hand and needs no model."""
        task = self.known_task
        own = {each.name: each for each in described_by(task.metrics)} if task else {}
        found = own.get(name) or known_metric(self.record, name)
        return None if found is None or found.needs_model else found

    def holding(self, predictions: Sequence[Prediction]) -> RunData:
        """The same with these answers at hand, for as long as this is kept."""
        return replace(self, predictions=lambda: predictions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The training of one student: what its folder holds."""

    name: str
    """Of the folder, which is that of the student's runs too."""
    record: Mapping[str, Any]
    """distill.json: status, config, counts, losses, base ..."""
    log: Rows = _none
    """training_log.jsonl: step, loss, lr and more, one row for each optimizer step."""
    evaluations: Rows = _none
    """validation_log.jsonl: step, score, loss and more, one row for each evaluation."""
    runs: tuple[RunData, ...] = ()
    """Evaluations under that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation:
    """One distillation: from a teacher's rationales to a student. What is not there is empty."""

    name: str
    rationales: Mapping[str, Any] = field(default_factory=dict)
    """rationales.json: teacher, data, settings, counts (its `topics`: topic -> kept, dropped)."""
    kept: Rows = _none
    """rationales.jsonl: id, topic, summary, caption, reasoning, conclusion, prompt, images ..."""
    rejected: Rows = _none
    """rejected.jsonl: id, topic, raw, reasons."""
    quality: Mapping[str, Any] = field(default_factory=dict)
    """quality.json: `teacher` (all, topics), `dependence`, `students` (name -> figures)."""
    training: Training | None = None
    control: Training | None = None
    """The training of the student that it is compared with."""
    base: tuple[RunData, ...] = ()
    """Runs of the student before training."""
    teacher: tuple[RunData, ...] = ()
    """Runs of the model that wrote the rationales."""
    problems: tuple[str, ...] = ()
    """What is there and cannot be read, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Everything that a page is made of, in any order."""

    runs: Sequence[RunData] = ()
    distillations: Sequence[Distillation] = ()

    @property
    def records(self) -> list[RunRecord]:
        return [run.record for run in self.runs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The pictures of the samples, by the sha256 that answers keep: never another picture."""

    find: Callable[[str], ImageRef | None]
    """None: not found."""
    notes: tuple[str, ...] = ()
    """Why the pictures of some runs are not found."""
