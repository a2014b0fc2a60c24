"""`harness distill export`: the kept rationales as a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distill.config import DistillConfig
from harness.cli.commands import App
from harness.cli.distill.options import ExistingWorkspace, RecordedQuestions
from harness.cli.distill.plan import recorded_questions
from harness.cli.options import AsJson
from harness.core.declarations import Option
from harness.core.terminal import print_json, quieten_libraries, say

app = App()


@app.command(configurable=True, epilog="Example:\n\nharness distill export --out ./rationales")
def export(
    ctx: typer.Context,
    *,
    out: Annotated[Path, Option("The folder to write; it must not exist.")],
    questions: RecordedQuestions,
    no_images: Annotated[bool, Option("Leave the pictures out.", default=False)],
    workspace: ExistingWorkspace,
    as_json: AsJson,
) -> None:
    """Write the kept rationales as a data set, with a card that names sources and licences."""
    quieten_libraries()
    chosen = recorded_questions(ctx, workspace, questions, DistillConfig())
    from distill.rationales import exporting

    samples = chosen.data.samples.samples
    n = exporting.export(workspace.folder, samples, out, images=not no_images)
    if as_json:
        print_json({"folder": str(out), "rationales": n})
    else:
        say(f"{out}: {n:,} rationales")
