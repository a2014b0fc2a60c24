"""`harness eval`: models on tasks."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.commands import App
from harness.cli.configuration import configuration_of
from harness.cli.messages import print_failures, print_silence, show_error
from harness.cli.options import TASK, AsJson, DryRun
from harness.cli.signature import Expand
from harness.core import processes
from harness.core.errors import Exit, HarnessError
from harness.core.files.paths import user_path
from harness.core.options import ModelOptions, RunOptions
from harness.core.terminal import print_json, quieten_libraries
from harness.core.types import DATA, DataOptions

if TYPE_CHECKING:
    from harness.run.scoring import Run
    from harness.run.task_data import Data

app = App()


@app.command(
    configurable=True,
    epilog="Examples:\n\n"
    "harness eval --model phi-3.5 --task scienceqa\n\n"
    "harness eval --model ./my-checkpoint --task scienceqa --data ./scienceqa --limit 200\n\n"
    "harness eval --model moondream --weights ./my-moondream --task scienceqa --batch-size 16",
)
def eval(
    ctx: typer.Context,
    *,
    models: Annotated[list[ModelOptions], Expand(each="model")],
    task: Annotated[list[str], replace(TASK, commas=True)],
    data: Annotated[
        list[str] | None,
        replace(DATA, help=f"{DATA.help} For several tasks: TASK=PATH, once each.", default=None),
    ],
    questions: Annotated[DataOptions, Expand(without=("path",))],
    how: RunOptions,
    dry_run: DryRun,
    as_json: AsJson,
) -> None:
    """Run models on tasks. Re-run the same command to resume."""
    _refuse_twice("--model", [options.model for options in models])
    _refuse_twice("--task", task)
    paths = _data_paths(data or [], task)
    if questions.revision and len(paths) == len(task):
        raise HarnessError("--revision applies only to the Hub data set; remove it or --data.")
    quieten_libraries()
    loaded = _load_data(task, paths, questions)
    configuration = configuration_of(ctx)
    how = replace(how, command=["harness", *sys.argv[1:]], configuration=configuration)
    if dry_run:
        from harness.cli.dry_run import print_dry_run
        from harness.run.preview import preview

        found = [preview(model, data, how) for model in models for data in loaded.values()]
        print_dry_run(configuration, found, as_json=as_json)
        return
    from harness.tracking.registry import check_trackers

    check_trackers(how.tracking)
    done, errors = _evaluate_all(models, loaded, how, as_json=as_json)
    if as_json and processes.here().first:
        from harness.cli.printing import run_json

        print_json(
            {"runs": [run_json(run) for run in done], "errors": [e.to_json() for e in errors]}
        )
    if errors:
        raise typer.Exit(errors[0].code)
    if not processes.here().first:
        return
    if any(run.record.counts.failed or run.record.is_silent for run in done):
        raise typer.Exit(Exit.FAILED_SAMPLES)


def _evaluate_all(
    models: Sequence[ModelOptions], data: Mapping[str, Data], how: RunOptions, *, as_json: bool
) -> tuple[list[Run], list[HarnessError]]:
    """Run every model on every task; after an error the next run starts."""
    from harness.run.evaluate import evaluate
    from harness.sources.registry import find_source

    done: list[Run] = []
    errors: list[HarnessError] = []
    for options in models:
        try:
            source = find_source(options)
        except HarnessError as error:
            errors.append(show_error(error))
            continue
        for task, each in data.items():
            try:
                own = {"model": [options.model], "task": [task]}
                of_run = replace(how, configuration={**how.configuration, **own})
                done.append(evaluate(source, each, of_run))
            except HarnessError as error:
                errors.append(show_error(error))
            else:
                _print(done[-1], as_json=as_json)
    return done, errors


def _print(run: Run, *, as_json: bool) -> None:
    """Print a finished run; the first process prints for all."""
    if not processes.here().first:
        return
    print_failures(run)
    print_silence(run)
    if not as_json:
        from harness.cli.printing import print_run

        print_run(run.record, str(run.folder))


def _load_data(
    tasks: Sequence[str], paths: Mapping[str, Path], questions: DataOptions
) -> dict[str, Data]:
    """The tasks by what they were called, with their data, read when a run first needs them."""
    from harness.run.task_data import Data
    from tasks import load_task

    return {name: Data(load_task(name), replace(questions, path=paths.get(name))) for name in tasks}


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
