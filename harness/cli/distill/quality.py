"""`harness distill quality`: measure rationales."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distill.config import DistillConfig
from harness.cli.commands import App
from harness.cli.distill.options import (
    BaseOptions,
    ExistingWorkspace,
    ImageDependence,
    RecordedQuestions,
    TrainingHardware,
)
from harness.cli.distill.plan import recorded_questions, training_of
from harness.cli.distill.printing import print_quality, print_values
from harness.cli.options import AsJson
from harness.core.declarations import Option
from harness.core.terminal import print_json, quieten_libraries

app = App()


@app.command(
    configurable=True,
    epilog="Example:\n\nharness distill quality --run runs/scienceqa/moondream-kd/test",
)
def quality(
    ctx: typer.Context,
    *,
    questions: RecordedQuestions,
    run: Annotated[
        list[Path] | None,
        Option("A run whose own rationales are measured as well.", default=None),
    ],
    image_dependence: ImageDependence,
    base: BaseOptions,
    workspace: ExistingWorkspace,
    hardware: TrainingHardware,
    as_json: AsJson,
) -> None:
    """Measure rationales: format, agreement, leaks, repetition, overlap, need of the picture."""
    quieten_libraries()
    config = DistillConfig()
    chosen = recorded_questions(ctx, workspace, questions, config)
    from dataclasses import replace

    from distill.pipeline import measure_dependence
    from distill.quality.record import write_quality
    from distill.rationales.kept import load_examples
    from harness.run.folder import RunFolder
    from harness.run.scoring import Run
    from harness.run.task_data import Data

    runs = [Run(folder, RunFolder(folder).existing_record()) for folder in run or []]
    dependence = None
    if image_dependence:
        examples = load_examples(workspace, chosen)
        training = training_of(base, config, hardware)
        dependence = measure_dependence(workspace, chosen, training, examples=examples)
    data = chosen.data
    test = Data(data.task, replace(data.options, split="test")) if runs else None
    found = write_quality(
        workspace,
        chosen,
        dependence=dependence,
        runs=runs,
        tested=test.samples.samples if test else (),
    )
    if as_json:
        print_json(found)
        return
    print_quality("The teacher's rationales", found["teacher"])
    for student, figures in found["students"].items():
        print_quality(f"Those of {student}", figures)
    if "dependence" in found:
        print_values("Dependence on the image (nats per token)", found["dependence"]["all"])
