"""All stages in one: rationales, their quality, training, evaluation.

Each stage finds what it left on disk and does only what is missing, so that a second call resumes
the first. `distill.layout` names the files; the evaluations are runs like any other, in
RUNS/TASK/NAME/SPLIT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.evaluation import (
    count_overlap,
    evaluate_base,
    evaluate_student,
    fill_card,
)
from distill.examples import Example
from distill.layout import Workspace
from distill.objectives import objective_of
from distill.objectives.objective import Objective
from distill.options import EvaluationOptions
from distill.publishing import check_repository
from distill.quality.dependence import Dependence, image_dependence
from distill.quality.record import write_quality
from distill.quality.sight import Sight
from distill.questions import Questions
from distill.rationales.collect import Teaching, collect_rationales
from distill.rationales.kept import load_examples
from distill.rationales.logit_collection import check_teacher, collect_logits
from distill.training.requirements import check_packages
from distill.training.students import Training, check_sight, find_base, train_student
from harness.run.scoring import Run
from harness.run.task_data import Data
from harness.tracking.registry import check_trackers


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What each stage is given."""

    workspace: Workspace
    questions: Questions
    teaching: Teaching
    training: Training
    test: Data
    """The questions that the students answer."""
    evaluation: EvaluationOptions
    image_dependence: bool = False
    """Measure how much the rationales depend on their images."""

    @property
    def objective(self) -> Objective:
        """That of the student."""
        return objective_of(self.training.config)

    @property
    def needs_rationales(self) -> bool:
        """Whether there is a first stage."""
        return bool(self.objective.needs) or self.teaching.imported is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the stages have given."""

    rationales: Mapping[str, Any] | None
    """The record of the first stage; None where none were needed."""
    quality: Mapping[str, Any] | None
    students: Mapping[str, Path]
    """Name -> folder of the trained model."""
    runs: Sequence[Run]
    sights: Mapping[str, Sight]
    """Name -> whether a student that was trained on answers looks at its pictures."""
    overlap: int
    """Test questions that are among the training questions, images and all."""


def distill(plan: Plan, *, on_run: Callable[[Run], None] = lambda _: None) -> Outcome:
    """Every stage that is not complete yet.

    Args:
        on_run: is given each evaluation as soon as it is done.

    Raises:
        HarnessError: a stage was made with other settings, or cannot be done.
        Interrupted: asked to stop; the same call resumes.
    """
    workspace, questions, training = plan.workspace, plan.questions, plan.training
    overlap = _check(plan)
    record = None
    if plan.needs_rationales:
        record = collect_rationales(workspace, questions, plan.teaching)
    if plan.objective.top_logits:
        collect_logits(
            workspace,
            questions,
            plan.teaching,
            base=find_base(training).folder,
            objective=plan.objective,
        )
    examples = load_examples(workspace, questions, objective=plan.objective)
    dependence = None
    if record and plan.image_dependence:
        dependence = measure_dependence(workspace, questions, training, examples=examples)
    if record:  # before training: a student is not needed to see what it will learn from
        write_quality(workspace, questions, dependence=dependence)
    students = _train(plan, examples)
    runs = _evaluate(plan, students, on_run)
    quality = None
    if record:
        quality = write_quality(
            workspace,
            questions,
            dependence=dependence,
            runs=runs,
            tested=plan.test.samples.samples,
        )
    _fill_cards(plan, students, runs, quality=quality)
    return Outcome(
        sights=_sights(plan, students),
        rationales=record,
        quality=quality,
        students={workspace.name + suffix: folder for suffix, folder in students.items()},
        runs=runs,
        overlap=overlap,
    )


def _train(plan: Plan, examples: Sequence[Example]) -> dict[str, Path]:
    """Suffix of the student, and of each control -> its folder."""
    return {
        suffix: train_student(
            plan.workspace,
            plan.questions,
            plan.training,
            examples=examples,
            suffix=suffix,
            teaching=plan.teaching,
        )
        for suffix in ("", *plan.training.controls)
    }


def _sights(plan: Plan, suffixes: Iterable[str]) -> dict[str, Sight]:
    """Name -> the sight of each student that was trained on answers."""
    found = {}
    for suffix in suffixes:
        sight = check_sight(
            plan.workspace,
            plan.questions,
            plan.training,
            suffix=suffix,
        )
        if sight is not None:
            found[plan.workspace.name + suffix] = sight
    return found


def _check(plan: Plan) -> int:
    """Refuse what cannot be done before anything takes long; returns the overlap of training and
    test."""
    for check in _checks_of_options(plan):
        check()
    overlap = count_overlap(plan.questions, plan.test)
    for check in _checks_of_weights(plan):
        check()
    return overlap


def checks(plan: Plan, *, trains_alone: bool = False) -> Iterator[Callable[[], object]]:
    """What is refused before anything takes long: each raises HarnessError.

    Args:
        trains_alone: on the rationales, and with the logits, that are there.
    """
    yield from _checks_of_options(plan, trains_alone=trains_alone)
    yield from _checks_of_weights(plan, trains_alone=trains_alone)


def _checks_of_options(plan: Plan, *, trains_alone: bool = False) -> Iterator[Callable[[], object]]:
    workspace = plan.workspace
    if not trains_alone:
        yield lambda: plan.teaching.options.check(plan.questions.data.task)
    yield lambda: check_trackers(workspace.tracking)
    if (repository := workspace.push_to_hub) is not None:
        yield lambda: check_repository(repository)


def _checks_of_weights(plan: Plan, *, trains_alone: bool = False) -> Iterator[Callable[[], object]]:
    training = plan.training
    yield lambda: find_base(training)
    if plan.objective.sampling or (plan.objective.top_logits and not trains_alone):
        yield lambda: check_teacher(plan.teaching, find_base(training).folder)
    yield lambda: check_packages(training.config, training.resolved_device())


def measure_dependence(
    workspace: Workspace,
    questions: Questions,
    training: Training,
    *,
    examples: Sequence[Example],
) -> dict[str, Dependence]:
    """Sample id -> how much its rationale depends on its image, by the untrained student."""
    return image_dependence(
        examples,
        base=find_base(training).folder,
        folder=workspace.folder,
        task=questions.data.task,
        device=training.resolved_device(),
    )


def _evaluate(plan: Plan, students: Mapping[str, Path], on_run: Callable[[Run], None]) -> list[Run]:
    """The runs of all students and, where it is wanted, of their base."""
    workspace, test, evaluation = plan.workspace, plan.test, plan.evaluation
    runs = []
    for suffix, folder in students.items():
        objective = objective_of(plan.training.config_of(suffix))
        runs.append(
            evaluate_student(
                workspace, test, evaluation, folder=folder, objective=objective, suffix=suffix
            )
        )
        on_run(runs[-1])
    if plan.evaluation.baseline:
        runs.append(evaluate_base(workspace, test, evaluation, base=plan.training.base))
        on_run(runs[-1])
    return runs


def _fill_cards(
    plan: Plan,
    students: Mapping[str, Path],
    runs: Sequence[Run],
    *,
    quality: Mapping[str, Any] | None,
) -> None:
    for suffix, folder in students.items():
        name = plan.workspace.name + suffix
        reasons = objective_of(plan.training.config_of(suffix)).style == "structured"
        own = quality["students"][name]["structure"] if quality and reasons else None
        fill_card(
            folder,
            plan.test,
            runs,
            name=name,
            preset=plan.training.preset,
            structure=own,
        )
