"""The models of a distillation, each with its run on the test questions.

Student, base, control and teacher are compared on the questions that two of them share: a run is
chosen by how many it shares with the student.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distill.quality.answers import reasoning_to_error, structure
from harness.core.types import Prediction, Value
from reports.inputs import runs
from reports.inputs.material import Distillation, RunData
from reports.statistics.answers import Answers
from reports.statistics.paired import shared
from reports.tables import heatmap
from reports.tables.heatmap import Change, Changes, Tested, changes_of, untested


@dataclass(frozen=True, slots=True)
class Structure:
    """How the structured answers of a run are built: see distill.quality.answers."""

    figures: Mapping[str, Value]
    """all_tags, well_formed, reasoning_to_error, reasoning_to_error_of_all: shares, 0 to 1."""
    reasoning_to_error: Sequence[str]
    """Ids of wrong answers whose reasoning arrives at the gold option, in the run's order."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelRun:
    """A model of a distillation with its run on the test questions."""

    evidence: RunData
    answers: Answers
    predictions: Mapping[str, Prediction]
    """By sample id, without failed ones."""

    @property
    def title(self) -> str:
        return runs.title(self.evidence.record)

    @property
    def role(self) -> str:
        return runs.role(self.evidence.record)

    @property
    def answered(self) -> int:
        """Questions that its scores are of."""
        return len(self.answers.scored.scores)

    def score(self, sample_id: str) -> float | None:
        """What its answer got, more being better; None: no score of its own."""
        found = self.answers.scored.scores.get(sample_id)
        return found * self.answers.metric.sign if isinstance(found, int | float) else None

    def structure(self) -> Structure:
        """Take its structured answers apart."""
        predictions = list(self.predictions.values())
        errors = reasoning_to_error(predictions)
        return Structure(structure(predictions, errors), errors.sample_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The models of one distillation; None: no run with predictions."""

    student: ModelRun | None
    """After training."""
    base: ModelRun | None
    """The student before training."""
    control: ModelRun | None
    """The student that it is compared with."""
    teacher: ModelRun | None
    change: Mapping[str, Change]
    """Topic -> the student against its base; "" is all questions; empty: one of them is missing."""
    tested: Tested
    """The test of two runs among those of all pairs."""
    structures: Mapping[ModelRun, Structure]
    """Of the teacher, the base and the student, as far as they are there."""

    @property
    def tints(self) -> Changes:
        """Of the differences by topic."""
        if self.student is None:
            return Changes()
        metric = self.student.answers.metric
        return changes_of(metric, (c.difference * metric.scale for c in self.change.values()))


def models_of(
    found: Distillation, answers: Mapping[str, Answers], tested: Tested = untested
) -> Models:
    """Choose a run for each model of a distillation.

    Args:
        found: the distillation.
        answers: by run id.
        tested: the tests of all pairs of runs.
    """
    student = _model_run(found.training.runs if found.training else (), answers)
    task = student.evidence.record.task.name if student else ""
    anchor = student.answers if student else None
    base = _model_run(found.base, answers, task, anchor)
    teacher = _model_run(found.teacher, answers, task, anchor)
    return Models(
        student=student,
        base=base,
        control=_model_run(found.control.runs if found.control else (), answers, task, anchor),
        teacher=teacher,
        change=heatmap.changes(base.answers, student.answers, tested) if base and student else {},
        tested=tested,
        structures={model: model.structure() for model in (teacher, base, student) if model},
    )


def _model_run(
    candidates: Sequence[RunData],
    answers: Mapping[str, Answers],
    task: str = "",
    anchor: Answers | None = None,
) -> ModelRun | None:
    """The run of a task, if one is named, that shares most questions with `anchor`; of equal ones
    that with most answers."""
    best: tuple[tuple[int, int], RunData, Answers] | None = None
    for evidence in candidates:
        known = answers.get(runs.run_id(evidence.record))
        if known is None:
            continue
        if task and evidence.record.task.name != task:
            continue
        fit = 0 if anchor is None else len(shared(anchor.scored, known.scored)), known.answered
        if best is None or fit > best[0]:
            best = fit, evidence, known
    if best is None:
        return None
    _, evidence, known = best
    predictions = {p.sample_id: p for p in evidence.predictions() if p.error is None}
    return ModelRun(evidence, known, predictions)
