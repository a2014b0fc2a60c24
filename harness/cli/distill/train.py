"""`harness distill train`: the second stage alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from distill.layout import Workspace
from distill.options import RationaleOptions
from harness.cli.commands import App
from harness.cli.distill.options import (
    AllQuestions,
    BaseOptions,
    ConfigOptions,
    LocalTeacher,
    TestSplit,
    TrackedWorkspace,
    TrainingChanges,
    TrainingHardware,
)
from harness.cli.distill.plan import (
    config_of,
    is_given,
    recorded_questions,
    student_of,
    teaching_of,
    training_of,
    with_command,
)
from harness.cli.distill.printing import preview_of_training, show_trained
from harness.cli.options import AsJson, DryRun
from harness.core import processes
from harness.core.terminal import quieten_libraries

if TYPE_CHECKING:
    from distill.questions import Questions
    from distill.rationales.collect import Teaching
    from distill.training.students import Training

app = App()


@app.command(
    configurable=True,
    epilog="Examples:\n\n"
    "harness distill train --preset code\n\n"
    "harness distill train --base ./moondream --lora-rank 16 --learning-rate 1e-4\n\n"
    "harness distill train --objective answer --name answers --data ./scienceqa --dry-run\n\n"
    "torchrun --no-python --nproc-per-node 4 harness distill train --parallel fsdp2",
)
def train(
    ctx: typer.Context,
    *,
    questions: AllQuestions,
    base: BaseOptions,
    preset: ConfigOptions,
    changes: TrainingChanges,
    workspace: TrackedWorkspace,
    teacher: LocalTeacher,
    test: TestSplit,
    hardware: TrainingHardware,
    dry_run: DryRun,
    as_json: AsJson,
) -> None:
    """Train a student on the rationales of the folder. Questions are those they were made for."""
    quieten_libraries()
    workspace = student_of(ctx, with_command(ctx, workspace), base)
    config = config_of(preset, changes)
    chosen = recorded_questions(ctx, workspace, questions, config)
    training = training_of(base, config, hardware, preset=preset.preset, test_split=test.split)
    teaching = teaching_of(teacher, RationaleOptions(), hardware, config=config)
    if dry_run:
        preview_of_training(workspace, chosen, training, teaching, as_json=as_json)
        return
    task = questions.task if is_given(ctx, "task") else chosen.data.task.name
    train_and_show(
        workspace,
        chosen,
        training,
        teaching=teaching,
        task=task,
        as_json=as_json,
    )


def train_and_show(
    workspace: Workspace,
    chosen: Questions,
    training: Training,
    *,
    task: str,
    teaching: Teaching | None = None,
    as_json: bool,
) -> None:
    """Train on what the workspace has for the questions; the first process prints the student."""
    from distill.objectives import objective_of
    from distill.publishing import check_repository
    from distill.rationales.kept import load_examples
    from distill.training.parallel import end_process_group
    from distill.training.students import train_student
    from harness.tracking.registry import check_trackers

    check_trackers(workspace.tracking)
    if workspace.push_to_hub is not None:
        check_repository(workspace.push_to_hub)
    examples = load_examples(workspace, chosen, objective=objective_of(training.config))
    student = train_student(workspace, chosen, training, examples=examples, teaching=teaching)
    end_process_group()
    if processes.here().first:
        show_trained(
            workspace,
            chosen,
            training,
            student,
            task=task,
            as_json=as_json,
        )
