"""`harness distill`: the whole pipeline in one command, and a command for each stage.

What takes long to import is imported inside the commands.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from distill.options import EvaluationOptions, RationaleOptions
from harness.cli.commands import App
from harness.cli.distill import analyse, export, logits, quality, rationales, train
from harness.cli.distill.options import (
    AllQuestions,
    BaseOptions,
    ConfigChanges,
    ConfigOptions,
    HardwareOptions,
    ImageDependence,
    TeacherOptions,
    TestOptions,
    TrackedWorkspace,
)
from harness.cli.distill.plan import (
    config_of,
    controls_of,
    is_given,
    named_after,
    questions_of,
    refuse_several,
    teaching_of,
    training_of,
    with_command,
)
from harness.cli.distill.printing import print_outcome, print_preview
from harness.cli.options import AsJson, DryRun, PageOut
from harness.core.errors import Exit, HarnessError
from harness.core.terminal import quieten_libraries, say
from harness.core.versions import require_tested_releases

if TYPE_CHECKING:
    from distill.pipeline import Outcome, Plan
    from harness.run.scoring import Run

app = App(
    help="Distil a large model's structured reasoning into a small one (SVRD): rationales, "
    "training, evaluation and report in one command, or stage by stage.",
    invoke_without_command=True,
    epilog="Examples:\n\n"
    "harness distill --dry-run\n\n"
    "harness distill --data ./scienceqa --teacher llava-cot --filter agrees\n\n"
    "harness distill --import rationales.csv --data ./scienceqa --base ./moondream --control",
)
for stage in (rationales, logits, train, quality, export, analyse):
    app.add_typer(stage.app)


@app.callback(invoke_without_command=True, configurable=True)
def distill(
    ctx: typer.Context,
    *,
    questions: AllQuestions,
    teacher: TeacherOptions,
    rationales: RationaleOptions,
    base: BaseOptions,
    preset: ConfigOptions,
    changes: ConfigChanges,
    test: TestOptions,
    evaluation: EvaluationOptions,
    image_dependence: ImageDependence,
    workspace: TrackedWorkspace,
    hardware: HardwareOptions,
    out: PageOut,
    dry_run: DryRun,
    as_json: AsJson,
) -> None:
    """All stages: rationales, training, evaluation, the page. Re-run the same command to resume."""
    if ctx.invoked_subcommand:
        _refuse_options_before(ctx, ctx.invoked_subcommand)
        return
    require_tested_releases()
    refuse_several("harness distill", "torchrun ... harness distill train, then harness eval")
    quieten_libraries()
    from distill.pipeline import Plan
    from harness.run.task_data import Data

    config = config_of(preset, changes)
    chosen = questions_of(questions, config)
    plan = Plan(
        workspace=named_after(ctx, with_command(ctx, workspace), base),
        questions=chosen,
        teaching=teaching_of(teacher, rationales, hardware, config=config),
        training=training_of(
            base,
            config,
            hardware,
            preset=preset.preset,
            test_split=test.split,
            controls=controls_of(test, config),
        ),
        test=Data(chosen.data.task, replace(questions.data, split=test.split)),
        evaluation=replace(
            evaluation,
            device=hardware.device,
            dtype=hardware.dtype,
            max_new_tokens=config.max_new_tokens,
        ),
        image_dependence=image_dependence,
    )
    if dry_run:
        print_preview(plan, as_json=as_json)
        return
    _run(plan, out, task=questions.task, as_json=as_json)


def _run(plan: Plan, page: Path, *, task: str, as_json: bool) -> None:
    """All stages, then the page; raises typer.Exit where samples failed, HarnessError where the hub
    did not take the student."""
    from distill import pipeline
    from harness.cli.printing import print_run
    from reports.page.report import write_report

    def show(run: Run) -> None:
        if not as_json:
            print_run(run.record, str(run.folder))

    outcome = pipeline.distill(plan, on_run=show)
    write_report(plan.workspace.runs, page)
    hub = print_outcome(plan, outcome, task=task, as_json=as_json)
    if not as_json:
        say(f"Page: {page}")
    if hub and hub.error:
        raise hub.error
    if _has_failures(outcome):
        raise typer.Exit(Exit.FAILED_SAMPLES)


def _refuse_options_before(ctx: typer.Context, command: str) -> None:
    """Options of a stage that stand before its name would be lost."""
    if early := [key for key in ctx.params if is_given(ctx, key)]:
        option = early[0].strip("_").replace("_", "-")
        raise HarnessError(
            f"--{option} stands before {command!r}; it belongs after it.",
            remedy=f"harness distill {command} --{option} ...",
        )


def _has_failures(outcome: Outcome) -> bool:
    failed = (outcome.rationales or {}).get("counts", {}).get("failed", 0)
    return bool(failed) or any(
        run.record.counts.failed or run.record.is_silent for run in outcome.runs
    )
