"""`harness show`: a run's result again."""

from __future__ import annotations

from harness.cli.commands import App
from harness.cli.options import AsJson, RunArgument

app = App()


@app.command(epilog="Example:\n\nharness show runs/scienceqa/moondream/test")
def show(run: RunArgument, *, as_json: AsJson) -> None:
    """Print the result of a run."""
    from harness.cli.printing import print_result
    from harness.run.folder import RunFolder
    from harness.run.scoring import Run

    print_result(Run(run, RunFolder(run).existing_record()), as_json=as_json)
