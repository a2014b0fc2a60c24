"""The Python interface: evaluate a model, load a run, compare two.

    import harness
    run = harness.evaluate(model="moondream", task="scienceqa", limit=50)
    run.metrics["accuracy"].value

Options are those of `harness eval`, by the same names and with the same defaults. What goes wrong
is a `harness.core.errors.HarnessError`. Nothing here prints results, takes over signals or ends the
process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, overload

from harness.api.options import choose, signature
from harness.api.result import Run, Runs
from harness.api.task_objects import with_code_hash
from harness.core import random_states
from harness.core.errors import HarnessError
from harness.core.files.paths import user_path
from harness.core.suggestions import did_you_mean
from harness.core.types import Task
from harness.core.versions import require_tested_releases
from harness.run.folder import RunFolder
from tasks import load_task
from tasks.groups import Entry, expand, is_group

if TYPE_CHECKING:
    from harness.api.several import Item
    from harness.core.options import ModelOptions, RunOptions
    from harness.run.compare import Comparison
    from harness.sources.in_memory import LoadedModel
    from harness.sources.source import Source

__all__ = ["Run", "Runs", "compare", "evaluate", "load_run"]


@overload
def evaluate(
    model: object, task: str | Path | Task, *, processor: object = None, **options: Any
) -> Run: ...
@overload
def evaluate(
    model: object, task: Sequence[str | Path | Task], *, processor: object = None, **options: Any
) -> Runs: ...
def evaluate(
    model: object,
    task: str | Path | Task | Sequence[str | Path | Task],
    *,
    processor: object = None,
    **options: Any,
) -> Run | Runs:
    """Evaluate a model on a task, as `harness eval` does; the same call again resumes.

    A model that is in memory answers where it is. Afterwards every submodule is in the mode that it
    had, and the random states of Python, numpy and torch are as they were.

    Args:
        model: what `--model` takes; or a loaded model of transformers, with its `processor`, or
            the pair of the two.
        task: a task of `harness list tasks`, a file such as ./mine.py, or a Task. A list of them,
            and of groups such as small-vlm or ./mine.toml, gives their runs: the model is loaded
            once, and a task that fails stops no other.
        options: the options of `harness eval`, with _ for -: `data`, the folder or file with the
            questions, for a list by task; `limit=50`; `runs`, the folder of run folders, of a model
            in memory a temporary one unless it is given.

    Raises:
        HarnessError: an option, the model or the data cannot be used; or the run that is there was
            made with something else; or transformers or torch is of a release that is not tested.
            Of a list, `Runs.failures` holds what single tasks raised.
    """
    require_tested_releases()
    if isinstance(task, str | Path | Task):
        made = _evaluate(model, processor, _named(task), paths={}, options=options)
        if made.failures:
            raise made.failures[0].error
        return made[0]
    given = options.get("data")
    if given is not None and not isinstance(given, Mapping):
        raise HarnessError(
            "data is of one task; for a list of them, give a path for each.",
            remedy='data={"scienceqa": "./scienceqa"}',
        )
    paths = {str(name): user_path(str(path)) for name, path in (given or {}).items()}
    others = {name: value for name, value in options.items() if name != "data"}
    return _evaluate(model, processor, _all_named(task, paths), paths=paths, options=others)


_Asked = Sequence[tuple[Entry, Task]]
"""The tasks, each with how it is asked."""


def _named(task: str | Path | Task) -> _Asked:
    """One task, which is no group."""
    if isinstance(task, Task):
        return [(Entry(task=task.name), with_code_hash(task))]
    if is_group(str(task)):
        raise HarnessError(
            f"{task} is a group, which has a run for each of its tasks.",
            remedy=f'harness.evaluate(model, task=["{task}"]) gives them all.',
        )
    return [(Entry(task=str(task)), load_task(str(task)))]


def _all_named(tasks: Sequence[str | Path | Task], paths: Mapping[str, Path]) -> _Asked:
    """Tasks, and those of groups; every path is of one of them."""
    found: list[tuple[Entry, Task]] = []
    for task in tasks:
        if isinstance(task, Task):
            found += _named(task)
        else:
            found += [(entry, load_task(entry.task)) for entry in expand([str(task)])]
    if not found:
        raise HarnessError("task is a list without a task.", remedy='task=["scienceqa"]')
    names = [entry.task for entry, _ in found]
    for name in paths:
        if name not in names:
            raise HarnessError(
                f"data is for {name!r}, which is not evaluated.{did_you_mean(name, names)}"
            )
    if twice := {name for name in names if names.count(name) > 1}:
        raise HarnessError(f"{min(twice)} is given twice.")
    return found


def _evaluate(
    model: object,
    processor: object,
    asked: _Asked,
    *,
    paths: Mapping[str, Path],
    options: Mapping[str, Any],
) -> Runs:
    """The runs of a model, whether it has a name or is in memory."""
    # Imported here: `import harness` is quick.
    from harness.api.several import item, judged_where_written
    from harness.tracking.registry import check_trackers

    if isinstance(model, tuple):
        model, processor = _pair(model, processor)
    by_name = isinstance(model, str | Path)
    if by_name and processor is not None:
        raise HarnessError(
            "processor goes with a loaded model; the one of a folder is in the folder.",
            remedy="Leave it out.",
        )
    name = str(model) if by_name else type(model).__name__
    chosen = choose(options, model=name, task=asked[0][0].task, in_place=not by_name)
    check_trackers(chosen.run.tracking)
    temporary = None
    run = chosen.run
    if not by_name and "runs" not in options:
        temporary = TemporaryDirectory(prefix="harness-runs-")
        run = _moved(run, Path(temporary.name))
    items = judged_where_written(
        [
            item(entry, task, run, questions=chosen.data, path=paths.get(entry.task))
            for entry, task in asked
        ]
    )
    with random_states.kept():
        if by_name:
            return _collected(_source(chosen.model), items, model=name, temporary=temporary)
        with _loaded(model, processor, chosen.model) as source:
            return _collected(source, items, model=name, temporary=temporary)


def _collected(
    source: Source, items: Sequence[Item], *, model: str, temporary: TemporaryDirectory[str] | None
) -> Runs:
    from harness.api.several import Failure, evaluate_each

    made = list(evaluate_each(source, items, model=model))
    return Runs(
        [Run(one.folder, one.record, temporary) for one in made if not isinstance(one, Failure)],
        failures=[one for one in made if isinstance(one, Failure)],
    )


evaluate.__signature__ = signature(evaluate)  # type: ignore[attr-defined]  # what help() shows


def load_run(path: str | Path) -> Run:
    """The run in a folder such as runs/scienceqa/moondream/test.

    Raises:
        HarnessError: there is none.
    """
    folder = RunFolder(user_path(str(path)))
    return Run(folder.path, folder.existing_record())


def compare(first: Run | str | Path, second: Run | str | Path) -> Comparison:
    """Two runs, or their folders, on the questions that both answered.

    Raises:
        HarnessError: they cannot be compared.
    """
    from harness.run.compare import compare as compare_folders

    return compare_folders(_folder(first), _folder(second))


def _folder(run: Run | str | Path) -> RunFolder:
    return RunFolder(run.folder if isinstance(run, Run) else user_path(str(run)))


def _moved(run: RunOptions, runs: Path) -> RunOptions:
    """The options with another folder of runs; what is tracked stays where it would have been."""
    return replace(run, runs=runs, tracking=replace(run.tracking, runs=run.runs))


def _pair(model: tuple[object, ...], processor: object) -> tuple[object, object]:
    if len(model) != 2 or processor is not None:
        raise HarnessError(
            "model is a loaded model, or the pair of a loaded model and its processor."
        )
    return model[0], model[1]


def _source(options: ModelOptions) -> Source:
    from harness.sources.registry import find_source

    return find_source(options)


@contextmanager
def _loaded(model: object, processor: object, options: ModelOptions) -> Iterator[LoadedModel]:
    """The model in memory as a source of answers, and afterwards as it was."""
    from harness.sources.in_memory import LoadedModel, LoadedOptions

    if processor is None:
        raise HarnessError(
            "A loaded model needs its processor.",
            remedy="harness.evaluate(model=model, processor=processor, task=...), with what "
            "AutoProcessor.from_pretrained makes of the model's checkpoint.",
        )
    source = LoadedModel(
        model,
        processor,
        options=LoadedOptions(
            name=options.name,
            processor_args=options.processor_args,
            chat_template=options.chat_template,
            engine=options.engine,
        ),
    )
    with source.borrowed():
        yield source
