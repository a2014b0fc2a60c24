"""`harness draw`: synthetic questions as a data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.commands import App
from harness.cli.options import AsJson
from harness.core.errors import HarnessError
from harness.core.terminal import print_json, say

app = App()


@app.command(
    epilog="Example:\n\n"
    "harness draw ./questions --task scienceqa-mini --split train --count 500\n\n"
    "harness eval --model ./my-checkpoint --task scienceqa --data ./questions --split train"
)
def draw(
    folder: Annotated[Path, typer.Argument(help="Where SPLIT.jsonl and images/ are put.")],
    task: Annotated[
        str, typer.Option("--task", "-t", help="scienceqa-mini or vqaonline-mini.")
    ] = "scienceqa-mini",
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    count: Annotated[
        int | None,
        typer.Option(min=1, help="How many; default: as many as the task has, its own first."),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Other questions than the task's, of the same split.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Write drawn questions and their pictures as a data folder, as your own data may lie."""
    from harness.synthetic.questions import DRAWN
    from harness.synthetic.writing import write

    if task not in DRAWN:
        raise HarnessError(
            f"The questions of {task!r} are not drawn.", known=f"Drawn are {', '.join(DRAWN)}."
        )
    items = DRAWN[task](split, seed, count)
    file = write(folder, split, items)
    if as_json:
        print_json({"file": str(file), "questions": len(items), "task": task, "split": split})
    else:
        say(f"{len(items):,} questions: {file}")
