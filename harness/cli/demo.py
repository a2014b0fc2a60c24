"""`harness demo`: the whole paper in miniature."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

from harness.cli.commands import App
from harness.cli.options import PageOut
from harness.core.declarations import Option
from harness.core.options import Fresh
from harness.core.terminal import quieten_libraries, say

app = App()


@app.command(epilog="Examples:\n\nharness demo\n\nharness demo --quick --folder ./tried")
def demo(
    *,
    folder: Annotated[
        Path,
        Option(
            "Where everything is put, that of --quick in quick/ below it.", default=Path("demo")
        ),
    ],
    out: PageOut,
    quick: Annotated[bool, Option("A few questions and rationales, to see that all of it runs.")],
    fresh: Fresh,
) -> None:
    """The whole paper in miniature, with nothing to download.

    Six small models answer synthetic questions; the teacher among them writes rationales, the
    student learns them, a control learns the answers alone; the page shows the results. Every score
    is mini (synthetic): it shows how things work, not how well a published model does. Re-run the
    same command to resume; --fresh starts over.
    """
    quieten_libraries()
    from harness.mini.pace import share_cores

    share_cores()  # before the next import, which brings torch
    from harness.mini import demo as whole

    command = ["harness", *sys.argv[1:]]
    extent = whole.QUICK if quick else whole.FULL
    folder = folder / "quick" if quick else folder  # the scores of the two are of other questions
    report = partial(say, err=True)
    say(whole.run(folder, out=out, extent=extent, fresh=fresh, command=command, report=report))
