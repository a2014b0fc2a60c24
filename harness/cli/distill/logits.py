"""`harness distill logits`: the teacher's logits for an objective that learns them."""

from __future__ import annotations

import typer

from distill.options import RationaleOptions
from harness.cli.commands import App
from harness.cli.distill.options import (
    BaseOptions,
    ConfigOptions,
    ExistingWorkspace,
    HardwareOptions,
    LocalTeacher,
    LogitChanges,
    RecordedQuestions,
)
from harness.cli.distill.plan import (
    config_of,
    recorded_questions,
    refuse_several,
    teaching_of,
    training_of,
    with_command,
)
from harness.cli.options import AsJson
from harness.core.errors import Exit, HarnessError
from harness.core.terminal import print_json, quieten_libraries, say

app = App()


@app.command(
    configurable=True,
    epilog="Example:\n\nharness distill logits --teacher ./moondream-kd --objective-set top_k=50",
)
def logits(
    ctx: typer.Context,
    *,
    questions: RecordedQuestions,
    teacher: LocalTeacher,
    base: BaseOptions,
    changes: LogitChanges,
    workspace: ExistingWorkspace,
    hardware: HardwareOptions,
    as_json: AsJson,
) -> None:
    """Keep the teacher's highest logits at each token of the kept rationales, for --objective
    logits; the teacher is then no longer needed."""
    refuse_several("distill logits", "Start one process.")
    quieten_libraries()
    config = config_of(ConfigOptions(), {"objective": "logits", **changes})
    chosen = recorded_questions(ctx, workspace, questions, config)
    from distill.objectives import objective_of
    from distill.rationales.logit_collection import collect_logits
    from distill.training.students import find_base

    objective = objective_of(config)
    if not objective.top_logits:
        raise HarnessError(f"The objective {objective.name} needs no logits of the teacher.")
    record = collect_logits(
        with_command(ctx, workspace),
        chosen,
        teaching_of(teacher, RationaleOptions(), hardware, config=config),
        base=find_base(training_of(base, config, hardware)).folder,
        objective=objective,
    )
    if as_json:
        print_json({"folder": str(workspace.folder), **record})
    else:
        counts = record["counts"]
        say(
            f"Logits by {record['teacher']['name']}: {counts['there']:,} of {counts['examples']:,} "
            f"rationales, {record['bytes'] / 1e6:.1f} MB"
        )
        for name, reason in counts["failed"].items():
            say(f"  {name}: {reason}")
    if record["counts"]["failed"]:
        raise typer.Exit(Exit.FAILED_SAMPLES)
