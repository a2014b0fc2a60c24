"""`harness demo`: the whole paper in miniature."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

from harness.cli.commands import App
from harness.cli.options import PageOut
from harness.core.declarations import Option
from harness.core.errors import HarnessError
from harness.core.options import Fresh
from harness.core.terminal import quieten_libraries, say

app = App()


@app.command(epilog="Examples:\n\nharness demo\n\nharness demo --quick --folder ./tried")
def demo(
    *,
    folder: Annotated[
        Path,
        Option(
            "Where everything is put; --quick and --full have folders of their own in it.",
            default=Path("demo"),
        ),
    ],
    out: PageOut,
    quick: Annotated[bool, Option("A few questions and rationales, to see that all of it runs.")],
    full: Annotated[
        bool,
        Option(
            "Ask all test questions and distil from all of the train split, which takes longer."
        ),
    ],
    fresh: Fresh,
) -> None:
    """The whole paper in miniature, with nothing to download.

    Six small models answer synthetic questions; the teacher among them writes rationales, the
    student learns them, a control learns the answers alone; the page shows the results. Every score
    is mini (synthetic): it shows how things work, not how well a published model does. Re-run the
    same command to resume; --fresh starts over.
    """
    if quick and full:
        raise HarnessError(
            "--quick and --full exclude each other.", remedy="Leave one of them out."
        )
    quieten_libraries()
    from harness.mini.pace import share_cores

    share_cores()  # before torch is imported, here or in another process
    from harness.mini import demo as whole
    from harness.mini.extents import DEMO, FULL, QUICK
    from harness.mini.lanes import lanes_here

    # What one extent has trained is not what another one would.
    name, extent = ("quick", QUICK) if quick else ("full", FULL) if full else ("", DEMO)
    say(
        whole.run(
            folder / name,
            out=out,
            extent=extent,
            fresh=fresh,
            command=["harness", *sys.argv[1:]],
            report=partial(say, err=True),
            lanes=lanes_here(),
        )
    )
