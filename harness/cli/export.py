"""`harness export`: tables and runs in other programs' formats."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.commands import App
from harness.cli.messages import show_error
from harness.cli.options import AsJson, RunsDir, refuse_absent
from harness.core.errors import HarnessError
from harness.core.terminal import print_json, say

app = App()


class ExportFormat(StrEnum):
    """Formats of `harness export`: see reports.export."""

    csv = "csv"
    markdown = "markdown"
    latex = "latex"
    json = "json"
    lm_eval = "lm-eval"
    hf = "hf"
    every_eval_ever = "every-eval-ever"


@app.command(
    epilog="Examples:\n\n"
    "harness export --format csv --task scienceqa\n\n"
    "harness export --format latex --out tables.tex\n\n"
    "harness export --format lm-eval --out lm-eval-results"
)
def export(
    form: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            "-f",
            help="csv, markdown, latex, json: the tables of the page, in one document. lm-eval, "
            "hf, every-eval-ever: the runs, in a folder.",
        ),
    ],
    task: Annotated[
        str | None, typer.Option("--task", "-t", help="Only this task; default: all.")
    ] = None,
    runs: RunsDir = Path("runs"),
    out: Annotated[
        Path | None,
        typer.Option(help="The file, in place of stdout; where runs are written, the folder."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="ORG/NAME",
            help="The hub's data set that the questions are, where runs were made from a copy.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the tables, or the runs with their answers, in a format that other programs read."""
    refuse_absent(runs)
    if as_json and out is None:
        raise HarnessError(
            "--json tells which files were written: it needs --out.", remedy="--format json"
        )
    from reports.export.exporter import export as write

    written = write(form.value, runs, task=task, out=out, dataset=dataset)
    for one in written.broken:
        show_error(one)
    if as_json:
        print_json({"format": form.value, "files": [str(path) for path in written.files]})
    elif written.files:
        say(f"{out}: {len(written.files)} file{'s' * (len(written.files) > 1)}")
    else:
        sys.stdout.write(written.text)
    if written.broken:
        raise typer.Exit(written.broken[0].code)
