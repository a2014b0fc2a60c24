"""`harness export`: tables and runs in other programs' formats."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.commands import App
from harness.cli.messages import show_error
from harness.cli.options import AsJson, refuse_absent
from harness.core.declarations import OUTPUT, Option
from harness.core.errors import HarnessError
from harness.core.options import Runs
from harness.core.terminal import print_json, say

app = App()


Format = Literal[
    "csv", "markdown", "latex", "json", "lm-eval", "hf", "every-eval-ever", "submission"
]
"""See reports.export."""


@app.command(
    epilog="Examples:\n\n"
    "harness export --format csv --task scienceqa\n\n"
    "harness export --format latex --out tables.tex\n\n"
    "harness export --format lm-eval --out lm-eval-results\n\n"
    "harness export --format submission --task vqav2 --out submissions"
)
def export(
    *,
    form: Annotated[
        Format,
        Option(
            "What to write. csv, markdown, latex, json: the tables of the page, in one document. "
            "lm-eval, hf, every-eval-ever: the runs, in a folder. submission: their answers as the "
            "evaluation servers of the data sets take them.",
            flag="format",
        ),
    ],
    task: Annotated[
        str | None,
        Option(
            "Only the runs of this task or group, ./mine.py or ./mine.toml. Default: all.",
            default=None,
        ),
    ],
    runs: Runs,
    out: Annotated[
        Path | None,
        Option(
            "The file to write, or the folder where runs are written. Default: stdout.",
            panel=OUTPUT,
            default=None,
        ),
    ],
    dataset: Annotated[
        str | None,
        Option(
            "The Hub data set that the questions are from, where runs were made from a copy. "
            "Default: the one that the runs name.",
            metavar="ORG/NAME",
            default=None,
        ),
    ],
    as_json: AsJson,
) -> None:
    """Write the tables, or the runs with their answers, in the format of another program."""
    refuse_absent(runs)
    if as_json and out is None:
        raise HarnessError(
            "--json tells which files were written: it needs --out.", remedy="--format json"
        )
    from harness.cli.printing import count
    from reports.export.exporter import export as write

    written = write(form, runs, task=task, out=out, dataset=dataset)
    for one in written.broken:
        show_error(one)
    for note in written.notes:
        say(note, err=True)
    if as_json:
        print_json({"format": form, "files": [str(path) for path in written.files]})
    elif written.files:
        say(f"{out}: {count(len(written.files), 'file')}")
    else:
        sys.stdout.write(written.text)
    if written.broken:
        raise typer.Exit(written.broken[0].code)
