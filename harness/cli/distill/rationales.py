"""`harness distill rationales`: the first stage alone."""

from __future__ import annotations

import typer

from distill.options import RationaleOptions
from harness.cli.commands import App
from harness.cli.distill.options import (
    AllQuestions,
    ConfigOptions,
    HardwareOptions,
    TeacherChanges,
    TeacherOptions,
    WorkspaceOptions,
)
from harness.cli.distill.plan import (
    config_of,
    questions_of,
    refuse_several,
    teaching_of,
    with_command,
)
from harness.cli.distill.printing import print_quality, print_rationales
from harness.cli.options import AsJson
from harness.core.errors import Exit
from harness.core.terminal import print_json, quieten_libraries

app = App()


@app.command(
    configurable=True,
    epilog="Examples:\n\n"
    "harness distill rationales --teacher llava-cot --limit 2000 --filter agrees\n\n"
    "harness distill rationales --attempts 4 --filter agrees --hint-on-retry\n\n"
    "harness distill rationales --import theirs.csv --data ./scienceqa",
)
def rationales(
    ctx: typer.Context,
    *,
    questions: AllQuestions,
    teacher: TeacherOptions,
    options: RationaleOptions,
    changes: TeacherChanges,
    workspace: WorkspaceOptions,
    hardware: HardwareOptions,
    as_json: AsJson,
) -> None:
    """Let a teacher write a rationale for each question; keep, reject, measure."""
    refuse_several("distill rationales", "--teacher openai:NAME --base-url URL uses many GPUs")
    quieten_libraries()
    config = config_of(ConfigOptions(), changes)
    chosen = questions_of(questions, config)
    teaching = teaching_of(teacher, options, hardware, config=config)
    from distill.quality.record import write_quality
    from distill.rationales.collect import collect_rationales

    record = collect_rationales(with_command(ctx, workspace), chosen, teaching)
    quality = write_quality(workspace, chosen)
    if as_json:
        print_json({"folder": str(workspace.folder), **record, "quality": quality["teacher"]})
    else:
        print_rationales(workspace, record)
        print_quality("Quality", quality["teacher"])
    if record["counts"]["failed"]:
        raise typer.Exit(Exit.FAILED_SAMPLES)
