"""`harness eval`: models on tasks, and on groups of tasks."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.commands import App
from harness.cli.configuration import configuration_of
from harness.cli.messages import print_failures, print_silence, show_error
from harness.cli.options import TASKS, AsJson, DryRun
from harness.cli.signature import Expand
from harness.core import processes
from harness.core.errors import Exit, HarnessError
from harness.core.files.paths import user_path
from harness.core.options import ModelOptions, RunOptions
from harness.core.terminal import print_json, quieten_libraries
from harness.core.types import DATA, DataOptions

if TYPE_CHECKING:
    from harness.api.several import Failure, Item
    from harness.run.scoring import Run
    from tasks.groups import Entry

app = App()


@app.command(
    configurable=True,
    epilog="Examples:\n\n"
    "harness eval --model phi-3.5 --task scienceqa\n\n"
    "harness eval --model moondream --task small-vlm\n\n"
    "harness eval --model ./my-checkpoint --task scienceqa --data ./scienceqa --limit 200\n\n"
    "harness eval --model moondream --weights ./my-moondream --task scienceqa --batch-size 16",
)
def eval(
    ctx: typer.Context,
    *,
    models: Annotated[list[ModelOptions], Expand(each="model")],
    task: Annotated[list[str], TASKS],
    data: Annotated[
        list[str] | None,
        replace(DATA, help=f"{DATA.help} For several tasks: TASK=PATH, once each.", default=None),
    ],
    questions: Annotated[DataOptions, Expand(without=("path",))],
    how: RunOptions,
    dry_run: DryRun,
    as_json: AsJson,
) -> None:
    """Run models on tasks, or on groups of tasks. Re-run the same command to resume."""
    _refuse_twice("--model", [options.model for options in models])
    _refuse_twice("--task", task)
    from tasks.groups import expand

    entries = expand(task)
    paths = _data_paths(data or [], [entry.task for entry in entries])
    if questions.revision and len(paths) == len(entries):
        raise HarnessError("--revision applies only to the Hub data set; remove it or --data.")
    quieten_libraries()
    configuration = configuration_of(ctx)
    how = replace(how, command=["harness", *sys.argv[1:]], configuration=configuration)
    items = _items(entries, paths, how, questions=questions)
    if dry_run:
        from harness.cli.dry_run import print_dry_run
        from harness.run.preview import preview

        found = [preview(model, each.data, each.options) for model in models for each in items]
        print_dry_run(configuration, found, as_json=as_json)
        return
    from harness.tracking.registry import check_trackers

    check_trackers(how.tracking)
    done, failures = _evaluate_all(models, items, as_json=as_json)
    if processes.here().first:
        _conclude(done, failures, as_json=as_json)
    if failures:
        raise typer.Exit(failures[0].error.code)
    if not processes.here().first:
        return
    if any(run.record.counts.failed or run.record.is_silent for run in done):
        raise typer.Exit(Exit.FAILED_SAMPLES)


def _items(
    entries: Sequence[Entry],
    paths: Mapping[str, Path],
    how: RunOptions,
    *,
    questions: DataOptions,
) -> list[Item]:
    """The tasks with their data, which are read when a run first needs them."""
    from harness.api.several import item, judged_where_written
    from harness.run.judging import check_judge
    from tasks import load_task

    items = judged_where_written(
        [
            item(entry, load_task(entry.task), how, questions=questions, path=paths.get(entry.task))
            for entry in entries
        ]
    )
    for each in items:
        check_judge(each.options.judging, each.data.task)
    return items


def _evaluate_all(
    models: Sequence[ModelOptions], items: Sequence[Item], *, as_json: bool
) -> tuple[list[Run], list[Failure]]:
    """Run every model on every task; after an error the next run starts."""
    from harness.api.several import Failure, evaluate_each
    from harness.sources.registry import find_source

    done: list[Run] = []
    failures: list[Failure] = []
    for options in models:
        try:
            source = find_source(options)
        except HarnessError as error:
            failures.append(Failure(model=options.model, task="", error=show_error(error)))
            continue
        for made in evaluate_each(source, items, model=options.model):
            if isinstance(made, Failure):
                show_error(made.error)
                failures.append(made)
            else:
                done.append(made)
                _print(made, as_json=as_json)
    return done, failures


def _print(run: Run, *, as_json: bool) -> None:
    """Print a finished run; the first process prints for all."""
    if not processes.here().first:
        return
    print_failures(run)
    print_silence(run)
    if not as_json:
        from harness.cli.printing import print_run

        print_run(run.record, str(run.folder))


def _conclude(done: Sequence[Run], failures: Sequence[Failure], *, as_json: bool) -> None:
    """Print what all runs came to: as JSON, or as a table where there are several."""
    from harness.cli.printing import run_json
    from harness.cli.summary import print_summary
    from harness.run.means import means

    if as_json:
        print_json(
            {
                "runs": [run_json(run) for run in done],
                "errors": [failure.to_json() for failure in failures],
                "means": [asdict(mean) for mean in means(run.record for run in done)],
            }
        )
    elif len(done) + len(failures) > 1:
        print_summary([run.record for run in done], failures)


def _refuse_twice(option: str, given: Sequence[str]) -> None:
    if twice := {value for value in given if given.count(value) > 1}:
        raise HarnessError(f"{option} {min(twice)} is given twice.")


def _data_paths(given: Sequence[str], tasks: Sequence[str]) -> dict[str, Path]:
    """--data PATH for the only task, or --data TASK=PATH."""
    paths: dict[str, Path] = {}
    for value in given:
        name, equals, path = value.partition("=")
        if equals and name in tasks:
            task, where = name, user_path(path)
        elif len(tasks) == 1:
            task, where = tasks[0], user_path(value)
        else:
            raise HarnessError(
                f"--data {value}: with several tasks, say whose it is.",
                remedy=f"--data {tasks[0]}={value}",
            )
        if task in paths:
            raise HarnessError(f"--data is given twice for {task}.")
        paths[task] = where
    return paths
