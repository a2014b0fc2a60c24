"""`harness score`: answers that were made elsewhere, without a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.commands import App
from harness.cli.messages import print_first, print_silence
from harness.cli.options import AsJson
from harness.cli.signature import Expand
from harness.core.declarations import Option
from harness.core.errors import Exit
from harness.core.options import RunOptions
from harness.core.terminal import quieten_libraries

app = App()


@app.command(
    epilog="Examples:\n\n"
    "harness score answers.jsonl --task scienceqa --model my-model\n\n"
    'One line: {"id": "7", "raw": "The answer is B.", "choices": ["x", "y"], "target": 1}\n\n'
    'One line of written answers: {"id": "8", "raw": "a cat", "answers": ["cat", "a cat"]}'
)
def score(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSONL, also packed as .gz or .xz, with id and raw (the model's text). Multiple "
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
    split: Annotated[
        str, Option("Split that the answers are of. Default: the task's own.", default="")
    ],
    skip_invalid: Annotated[bool, Option("Leave out, count and list rows that do not fit.")],
    how: Annotated[RunOptions, Expand(only=("tokenize", "bertscore", "runs", "fresh"))],
    as_json: AsJson,
) -> None:
    """Score answers that were made elsewhere, without a model, as a run like any other."""
    from harness.cli.printing import print_result

    quieten_libraries()
    from harness.run.answers_file import score_file
    from tasks import load_task

    chosen = load_task(task)
    run = score_file(
        file,
        chosen,
        label=model or file.name.partition(".jsonl")[0] or file.stem,
        runs=how.runs,
        split=split or chosen.split,
        fresh=how.fresh,
        skip_invalid=skip_invalid,
        tokenize=how.tokenize,
        bertscore=how.bertscore,
        command=["harness", *sys.argv[1:]],
    )
    print_first(run.skipped, "Skipped", "see `skipped` in run.json")
    print_result(run, as_json=as_json)
    print_silence(run)
    if run.record.is_silent:
        raise typer.Exit(Exit.FAILED_SAMPLES)
