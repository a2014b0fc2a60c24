"""`harness draw`: synthetic questions as a data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.commands import App
from harness.cli.options import AsJson
from harness.core.declarations import Option
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
    *,
    task: Annotated[
        str, Option("Whose questions: scienceqa-mini or vqaonline-mini.", default="scienceqa-mini")
    ],
    split: Annotated[str, Option("Split to write: train, validation or test.", default="test")],
    count: Annotated[
        int | None,
        Option(
            "How many questions, the task's own first. Default: as many as the task has.",
            minimum=1,
            default=None,
        ),
    ],
    seed: Annotated[
        int, Option("Another seed than 0 makes other questions of the same split.", default=0)
    ],
    as_json: AsJson,
) -> None:
    """Export synthetic questions as a data folder, also a template for your own."""
    from harness.synthetic.export import export
    from harness.synthetic.questions import GENERATORS

    if task not in GENERATORS:
        raise HarnessError(
            f"The questions of {task!r} are not synthetic.",
            known=f"Choose one of {', '.join(GENERATORS)}.",
        )
    items = GENERATORS[task](split, seed, count)
    file = export(folder, split, items)
    if as_json:
        print_json({"file": str(file), "questions": len(items), "task": task, "split": split})
    else:
        say(f"{len(items):,} questions: {file}")
