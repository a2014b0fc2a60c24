"""`harness demo`: the whole paper in miniature."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.commands import App
from harness.cli.options import ReportOut
from harness.core.terminal import quieten_libraries, say

app = App()


@app.command(epilog="Examples:\n\nharness demo\n\nharness demo --quick --folder ./tried")
def demo(
    folder: Annotated[
        Path,
        typer.Option(
            help="Where everything is put, of --quick in quick/; the same command goes on from "
            "there."
        ),
    ] = Path("demo"),
    out: ReportOut = Path("reports/leaderboard.html"),
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A few questions and rationales, to see that all of it runs."),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Move aside what is there, and begin anew.")
    ] = False,
) -> None:
    """The whole paper in miniature, with nothing to download.

    Six small models answer drawn questions; the teacher among them writes rationales, the student
    learns them, a control learns the answers alone; the page shows what came of it. Every score is
    mini (synthetic): it shows how things work, not how well a published model does.
    """
    quieten_libraries()
    from harness.mini import demo as whole

    command = ["harness", *sys.argv[1:]]
    extent = whole.QUICK if quick else whole.FULL
    folder = folder / "quick" if quick else folder  # the scores of the two are of other questions
    told = partial(say, err=True)
    say(whole.run(folder, out=out, extent=extent, fresh=fresh, command=command, told=told))
