"""`harness compare`: two runs on the questions that both answered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.commands import App
from harness.cli.options import AsJson
from harness.core.declarations import Option
from harness.core.errors import Exit
from harness.core.terminal import print_json, say

app = App()


@app.command(
    epilog="Example:\n\n"
    "harness compare runs/scienceqa/moondream/test runs/scienceqa/moondream-kd/test"
)
def compare(
    first: Annotated[Path, typer.Argument(help="Run folder A.")],
    second: Annotated[Path, typer.Argument(help="Run folder B.")],
    *,
    fail_if_worse: Annotated[
        bool, Option("Exit 5 if B is worse than A: its whole 95% interval is worse than 0.")
    ],
    task: Annotated[
        str | None,
        Option(
            "File of the task, for runs of ./mine.py whose metrics score a corpus or groups.",
            default=None,
        ),
    ],
    as_json: AsJson,
) -> None:
    """Compare two runs on the questions that both answered."""
    from harness.run.compare import compare as pair
    from harness.run.compare import words
    from harness.run.folder import RunFolder
    from tasks import load_task

    metrics = load_task(task).metrics if task else ()
    found = pair(RunFolder(first), RunFolder(second), metrics=metrics)
    if as_json:
        print_json(found.to_json())
    else:
        say(words(found))
    if fail_if_worse and found.second_is_worse:
        raise typer.Exit(Exit.CHECK_FAILED)
