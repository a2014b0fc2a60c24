"""`harness check`: try a model before a long run."""

from __future__ import annotations

from typing import Annotated

from harness.cli.commands import App
from harness.cli.options import AsJson
from harness.cli.signature import Expand
from harness.core.declarations import MODEL, OUTPUT, SERVER
from harness.core.options import ModelOptions
from harness.core.terminal import print_json, quieten_libraries, say

app = App()


@app.command(epilog="Example:\n\nharness check phi-3.5")
def check(
    options: Annotated[
        ModelOptions,
        Expand(argument="model", panels=("", MODEL, SERVER, OUTPUT), without=("name",)),
    ],
    as_json: AsJson,
) -> None:
    """Load a model and ask it two questions, alone and in a batch of four, before a long run."""
    quieten_libraries()
    from harness.cli.checking import before_loading, download, try_out
    from harness.cli.printing import print_check
    from harness.sources.registry import find_source

    if needed := download(options):
        size_of = f"{needed['repo']}: {needed['gigabytes']:.1f} GB"
        say(f"{size_of}, downloaded where it is not here yet.", err=True)
    source = find_source(options)
    say(before_loading(source), err=True)
    report = try_out(source)
    if as_json:
        print_json(report)
    else:
        print_check(report)
