"""`harness train`: plain supervised training of a model on questions with their answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import typer

from distill.layout import Workspace
from distill.objectives.answer import Answer
from distill.options import RationaleOptions
from harness.cli.commands import App
from harness.cli.distill.options import (
    BaseOptions,
    PlainConfig,
    PlainQuestions,
    PlainTrainingChanges,
    PlainWorkspace,
    QuestionOptions,
    TeacherOptions,
    TestSplit,
    TrainingHardware,
)
from harness.cli.distill.plan import (
    config_of,
    is_given,
    questions_of,
    teaching_of,
    training_of,
    with_command,
)
from harness.cli.distill.printing import preview_of_training
from harness.cli.distill.train import train_and_show
from harness.cli.options import AsJson, DryRun
from harness.core.terminal import quieten_libraries, say
from harness.core.types import DataOptions

app = App()


@app.command(
    configurable=True,
    epilog="Examples:\n\n"
    "harness train --data ./questions\n\n"
    "harness train --base ./smolvlm --data ./questions.jsonl --lora-rank 16\n\n"
    "harness train --base moondream --task vqaonline --limit 2000 --name moondream-vqaonline",
)
def train(
    ctx: typer.Context,
    *,
    questions: PlainQuestions,
    base: BaseOptions,
    preset: PlainConfig,
    changes: PlainTrainingChanges,
    test: TestSplit,
    workspace: PlainWorkspace,
    hardware: TrainingHardware,
    dry_run: DryRun,
    as_json: AsJson,
) -> None:
    """Train a model on questions and their answers, of a task or your own. Re-run to resume."""
    quieten_libraries()
    config = config_of(preset, {"objective": Answer.name, **changes})
    if questions.data.path is not None and not is_given(ctx, "task"):
        questions = replace(questions, task=_task_for(questions.data))
    workspace = with_command(ctx, workspace, derived=("name", "task"))
    workspace = _named(ctx, workspace, base, questions)
    chosen = questions_of(questions, config)
    training = training_of(base, config, hardware, preset=preset.preset, test_split=test.split)
    if dry_run:
        teaching = teaching_of(TeacherOptions(), RationaleOptions(), hardware, config=config)
        preview_of_training(workspace, chosen, training, teaching, as_json=as_json)
        return
    train_and_show(workspace, chosen, training, task=questions.task, as_json=as_json)


def _task_for(options: DataOptions) -> str:
    from distill.own_questions import task_for

    task = task_for(options)
    say(f"Task: {task}, by the form of the answers; --task names another.", err=True)
    return task


def _named(
    ctx: typer.Context, workspace: Workspace, base: BaseOptions, questions: QuestionOptions
) -> Workspace:
    """The workspace under a name of its own: the model's and the questions'."""
    if is_given(ctx, "name"):
        return workspace
    path = questions.data.path
    asked = path.stem if path else Path(questions.task).stem
    return replace(workspace, name=f"{Path(base.base).name}-{asked}")
