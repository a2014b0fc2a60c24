"""`harness list`: models, tasks and runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from harness.cli.commands import App
from harness.cli.messages import show_error
from harness.cli.options import AsJson, refuse_absent
from harness.core.errors import Exit
from harness.core.options import Runs
from harness.core.terminal import print_json, say

if TYPE_CHECKING:
    from harness.run.records import RunRecord

FIRST_RUN = "harness eval --model phi-3.5 --size mini --task scienceqa-mini --limit 50"

app = App(help="List models, tasks or runs.", no_args_is_help=True)


@app.command("models")
def list_models(*, as_json: AsJson) -> None:
    """List the models of Table 1, and what each needs."""
    from dataclasses import fields

    from harness.checkpoints.catalog import CATALOG, ModelSpec
    from harness.core.terminal import table
    from harness.families import family_of
    from harness.weights import minis as weights

    if as_json:
        names = [field.name for field in fields(ModelSpec)]
        rows = [
            {name: getattr(spec, name) for name in names}
            | {"processor_args": dict(spec.processor_args)}
            | {"family": family_of(spec.model_type).name}
            for spec in CATALOG
        ]
        return print_json({"models": rows})
    table(
        "Models",
        ("name", "title", "size", "role", "weights", "GB", "licence"),
        [
            (
                spec.name,
                spec.title,
                spec.size,
                spec.role,
                f"{spec.repo}{f' @ {spec.revision}' if spec.revision else ''}"
                if spec.repo
                else "made by harness distill",
                f"{spec.gigabytes:.1f}" if spec.gigabytes else "—",
                spec.licence,
            )
            for spec in CATALOG
        ],
    )
    say("Any other image-text model: --model ORG/REPO or --model FOLDER.")
    if minis := weights.names():
        say(f"As a miniature that comes with the package, --size mini: {', '.join(minis)}.")
    return None


@app.command("tasks")
def list_tasks(*, as_json: AsJson) -> None:
    """List the tasks that come with harness."""
    from harness.core.terminal import table
    from tasks import TASKS

    if as_json:
        return print_json({"tasks": [{"name": key, "about": TASKS[key]} for key in TASKS]})
    table("Tasks", ("name", "about"), list(TASKS.items()))
    say("Your own: --task ./mine.py, a file that defines TASK.")
    return None


@app.command("runs")
def list_runs(*, runs: Runs, as_json: AsJson) -> None:
    """List the runs on disk."""
    from harness.cli.printing import scope
    from harness.core.terminal import table
    from harness.run.folder import read_runs

    refuse_absent(runs)
    found, broken = read_runs(runs)
    for error in broken:
        show_error(error)
    if as_json:
        listed = [{"folder": str(path), **record.to_json()} for path, record in found]
        print_json({"runs": listed, "errors": [error.to_json() for error in broken]})
        raise typer.Exit(broken[0].code if broken else Exit.OK)
    if not found and not broken:
        return say(f"There are no runs in {runs}. This makes one, offline: {FIRST_RUN}")
    rows = []
    for path, record in found:
        rows.append((str(path), record.status, *_decisive(record), scope(record)))
    table("Runs", ("folder", "status", "metric", "score", "n"), rows)
    raise typer.Exit(broken[0].code if broken else Exit.OK)


def _decisive(record: RunRecord) -> tuple[str, str]:
    """The metric by which runs are ranked, and its figure."""
    from harness.core.terminal import MISSING
    from harness.run.figure_text import figure, title

    name = record.decisive
    if name is None or name not in record.metrics:
        return MISSING, MISSING
    return title(record, name), figure(record, name)
