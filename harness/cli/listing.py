"""`harness list`: models, tasks and runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from harness.cli.commands import App
from harness.cli.messages import show_error
from harness.cli.options import AsJson, refuse_absent
from harness.core.errors import Exit
from harness.core.options import Runs
from harness.core.terminal import print_json, say

FIRST_RUN = "harness eval --model phi-3.5 --size mini --task scienceqa-mini --limit 50"

app = App(help="List models, tasks or runs.", no_args_is_help=True)


@app.command("models")
def list_models(*, as_json: AsJson) -> None:
    """List the models of the paper's Table 1, and what each needs."""
    from dataclasses import fields

    from harness.checkpoints.catalog import CATALOG, ModelSpec
    from harness.core.terminal import table
    from harness.families import family_of
    from harness.weights import minis as weights

    if as_json:
        names = [field.name for field in fields(ModelSpec)]
        rows = [
            {name: _plain(getattr(spec, name)) for name in names}
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
        drop=("weights", "licence", "role", "GB"),
    )
    say("Any other image-text model: --model ORG/REPO or --model FOLDER.")
    if minis := weights.names():
        say(f"As a miniature that comes with the package, --size mini: {', '.join(minis)}.")
    return None


@app.command("tasks")
def list_tasks(*, as_json: AsJson) -> None:
    """List the tasks and groups that come with harness."""
    from harness.core.terminal import MISSING, table
    from tasks import SECTIONS, groups

    rows = [_task(name, section) for section, names in SECTIONS.items() for name in names]
    found = [groups.load_group(name) for name in groups.names()]
    if as_json:
        listed = [
            {"name": g.name, "title": g.title, "tasks": [e.task for e in g.entries]} for g in found
        ]
        return print_json({"tasks": rows, "groups": listed})
    places = [len(names) for names in SECTIONS.values()]
    table(
        "Tasks",
        ("task", "split", "n", "metric", "licence", "about"),
        [
            (
                row["name"],
                row["split"],
                MISSING if row["n"] is None else f"{row['n']:,}",
                row["metrics"][0]["title"],
                row["licence"] or "not stated",
                row["about"],
            )
            for row in rows
        ],
        drop=("about", "licence", "split"),
        wrapped={"metric": 16, "about": 30},
        headings={sum(places[:at]): section for at, section in enumerate(SECTIONS)},
    )
    for group in found:
        say(f"--task {group.name}: {', '.join(entry.task for entry in group.entries)}.")
    say("Your own: --task ./mine.py, a file that defines TASK; ./mine.toml, a group of tasks.")
    return None


def _task(name: str, section: str) -> dict[str, Any]:
    """What the list says of a task; the metric that decides comes first."""
    from harness.core.types import Metric
    from tasks import TASKS, load_task

    task = load_task(name)
    metrics = [each for each in task.metrics if isinstance(each, Metric)]
    return {
        "name": name,
        "title": task.title,
        "group": section,
        "about": TASKS[name],
        "split": task.split,
        "n": task.questions,
        "metrics": [{"name": m.name, "title": m.title, "meaning": m.meaning} for m in metrics],
        "licence": task.licence,
        "submission": task.submission.server if task.submission else None,
    }


def _plain(value: object) -> object:
    """As JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return [*map(_plain, value)] if isinstance(value, tuple | frozenset) else value


@app.command("runs")
def list_runs(*, runs: Runs, as_json: AsJson) -> None:
    """List the runs on disk."""
    from harness.cli.printing import print_runs
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
    if found:
        print_runs([(str(path), record) for path, record in found])
    raise typer.Exit(broken[0].code if broken else Exit.OK)
