"""`harness score`: answers that were made elsewhere, without a model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.commands import App
from harness.cli.messages import print_first, print_silence, show_error
from harness.cli.options import AsJson
from harness.cli.signature import Expand
from harness.core.declarations import Option
from harness.core.errors import Exit, HarnessError
from harness.core.options import RunOptions
from harness.core.terminal import print_json, quieten_libraries, say

if TYPE_CHECKING:
    from harness.core.types import Task
    from harness.run.scoring import Run

app = App()
_SCORING = ("tokenize", "bertscore", "judge", "url", "tokens", "concurrency")


@app.command(
    epilog="Examples:\n\n"
    "harness score answers.jsonl --task scienceqa --model my-model\n\n"
    "harness score outputs/ --task scienceqa --name 'outputs_{model}_5shots'\n\n"
    'One line: {"id": "7", "raw": "The answer is B.", "choices": ["x", "y"], "target": 1}\n\n'
    'One line of written answers: {"id": "8", "raw": "a cat", "answers": ["cat", "a cat"]}'
)
def score(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSONL, also packed as .gz or .xz, with id and raw (the model's text); or a "
            "folder of such files, one for each model. Multiple "
            "choice has choices or options, and target: the place of the right one from 0, its "
            "letter or its text. Written answers have target, or answers with several accepted "
            "texts. Optional: question, image, topic or category, group (of questions that are not "
            "independent), and finish_reason or finished (true, false): whether a token limit cut "
            "the answer. docs/data.md has examples."
        ),
    ],
    *,
    task: Annotated[str, Option("The task whose extractor and metrics to use.")],
    model: Annotated[
        str | None, Option("What to call the model. Default: the file's name.", default=None)
    ],
    name: Annotated[
        str | None,
        Option(
            "What models are called by the names of their files, without .jsonl: {model} stands "
            "for the name, * for anything. Other files of a folder are left out. Default: {model}.",
            default=None,
            metavar="PATTERN",
        ),
    ],
    split: Annotated[
        str, Option("Split that the answers are of. Default: the task's own.", default="")
    ],
    skip_invalid: Annotated[bool, Option("Leave out, count and list rows that do not fit.")],
    how: Annotated[RunOptions, Expand(only=(*_SCORING, "runs", "fresh"))],
    as_json: AsJson,
) -> None:
    """Score answers that were made elsewhere, without a model, as runs like any other."""
    from harness.run.answers_file import answer_files, model_of
    from tasks import load_task

    quieten_libraries()
    chosen = load_task(task)
    if model and (name or file.is_dir()):
        raise HarnessError("--model names the model of one file.", remedy="--name, for a folder.")
    scoring = partial(
        _score,
        given=file,
        task=chosen,
        split=split or chosen.split,
        skip_invalid=skip_invalid,
        how=how,
    )
    if not file.is_dir():
        label = model or (model_of(file, name) if name else _default_name(file))
        if not label:
            raise HarnessError(f"--name {name} does not fit {file.name}.")
        _finish_one(scoring(file, label), as_json=as_json)
        return
    files, left_out = answer_files(file, name) if name else answer_files(file)
    print_first([path.name for path in left_out], "Left out", f"--name {name} does not fit")
    _finish_all(files, scoring, as_json=as_json)


def _default_name(file: Path) -> str:
    return file.name.partition(".jsonl")[0] or file.stem


def _score(
    file: Path,
    label: str,
    *,
    given: Path,
    task: Task,
    split: str,
    skip_invalid: bool,
    how: RunOptions,
) -> Run:
    """Score one file; says what was skipped, and that there is nothing to do.

    Args:
        given: the file, or the folder that it is in.
    """
    from harness.core.progress import make
    from harness.run.answers_file import score_file
    from harness.run.judging import check_judge, judged

    check_judge(how.judging, task)
    run = score_file(
        file,
        task,
        label=label,
        runs=how.runs,
        split=split,
        fresh=how.fresh,
        skip_invalid=skip_invalid,
        tokenize=how.tokenize,
        bertscore=how.bertscore,
        command=_command(given, file),
        progress=make,
    )
    print_first(run.skipped, "Skipped", "see `skipped` in run.json")
    if run.unchanged:
        say(f"Nothing to do: {file.name} is scored, and has not changed.", err=True)
    return judged(run, task, how.judging, progress=make)


def _command(given: Path, file: Path) -> list[str]:
    """The command line; of a folder that of one of its files alone."""
    command = ["harness", *sys.argv[1:]]
    places = [at for at, part in enumerate(command) if given != file and Path(part) == given]
    if places:
        # An option may have the same value.
        at = max(places, key=lambda at: not command[at - 1].startswith("-"))
        command[at] = str(file)
    return command


def _finish_one(run: Run, *, as_json: bool) -> None:
    from harness.cli.printing import print_result

    print_result(run, as_json=as_json)
    print_silence(run)
    if run.record.is_silent:
        raise typer.Exit(Exit.FAILED_SAMPLES)


def _finish_all(
    files: Sequence[tuple[Path, str]], scoring: Callable[[Path, str], Run], *, as_json: bool
) -> None:
    """Score files one after the other; one that cannot be scored does not stop the others."""
    from harness.cli.printing import print_runs, run_json

    made: list[Run] = []
    errors: list[HarnessError] = []
    for number, (file, label) in enumerate(files, start=1):
        say(f"{number} of {len(files)}: {label}", err=True)
        try:
            made.append(scoring(file, label))
            print_silence(made[-1])
        except HarnessError as error:
            errors.append(show_error(error))
    if as_json:
        found = [run_json(run) for run in made]
        print_json({"runs": found, "errors": [error.to_json() for error in errors]})
    elif made:
        print_runs([(str(run.folder), run.record) for run in made])
    if errors:
        raise typer.Exit(errors[0].code)
    if any(run.record.is_silent for run in made):
        raise typer.Exit(Exit.FAILED_SAMPLES)
