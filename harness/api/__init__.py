"""The Python interface: evaluate a model, load a run, compare two.

    import harness
    run = harness.evaluate(model="moondream", task="scienceqa", limit=50)
    run.metrics["accuracy"].value

Options are those of `harness eval`, by the same names and with the same defaults. What goes wrong
is a `harness.core.errors.HarnessError`. Nothing here prints results, takes over signals or ends the
process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from harness.api.options import choose, signature
from harness.api.result import Run
from harness.api.task_objects import with_code_hash
from harness.core import random_states
from harness.core.errors import HarnessError
from harness.core.files.paths import user_path
from harness.core.types import Task
from harness.core.versions import require_tested_releases
from harness.run.folder import RunFolder
from tasks import load_task

if TYPE_CHECKING:
    from harness.core.options import ModelOptions, RunOptions
    from harness.run.compare import Comparison
    from harness.sources.in_memory import LoadedModel
    from harness.sources.source import Source

__all__ = ["Run", "compare", "evaluate", "load_run"]


def evaluate(
    model: object,
    task: str | Path | Task,
    *,
    processor: object = None,
    **options: Any,
) -> Run:
    """Evaluate a model on a task, as `harness eval` does; the same call again resumes.

    A model that is in memory answers where it is. Afterwards every submodule is in the mode that it
    had, and the random states of Python, numpy and torch are as they were.

    Args:
        model: what `--model` takes; or a loaded model of transformers, with its `processor`, or
            the pair of the two.
        task: a task of `harness list tasks`, a file such as ./mine.py, or a Task.
        options: the options of `harness eval`, with _ for -: `data`, the folder or file with the
            questions; `limit=50`; `runs`, the folder of run folders, of a model in memory a
            temporary one unless it is given.

    Raises:
        HarnessError: an option, the model or the data cannot be used; or the run that is there was
            made with something else; or transformers or torch is of a release that is not tested.
    """
    require_tested_releases()
    # Imported here: `import harness` is quick.
    from harness.run.evaluate import evaluate as answer_all
    from harness.run.task_data import Data
    from harness.tracking.registry import check_trackers

    asked = with_code_hash(task) if isinstance(task, Task) else load_task(str(task))
    label = asked.name if isinstance(task, Task) else str(task)
    if isinstance(model, tuple):
        model, processor = _pair(model, processor)
    if isinstance(model, str | Path):
        if processor is not None:
            raise HarnessError(
                "processor goes with a loaded model; the one of a folder is in the folder.",
                remedy="Leave it out.",
            )
        chosen = choose(options, model=str(model), task=label, in_place=False)
        check_trackers(chosen.run.tracking)
        with random_states.kept():
            made = answer_all(_source(chosen.model), Data(asked, chosen.data), chosen.run)
        return Run(made.folder, made.record)
    chosen = choose(options, model=type(model).__name__, task=label, in_place=True)
    check_trackers(chosen.run.tracking)
    temporary = None if "runs" in options else TemporaryDirectory(prefix="harness-runs-")
    run = chosen.run if temporary is None else _moved(chosen.run, Path(temporary.name))
    with random_states.kept(), _loaded(model, processor, chosen.model) as source:
        made = answer_all(source, Data(asked, chosen.data), run)
    return Run(made.folder, made.record, temporary)


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
