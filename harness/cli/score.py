"""`harness score` and `harness rescore`: answers that are there, without a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.commands import App
from harness.cli.messages import print_first, print_silence
from harness.cli.options import AsJson, BertScore, RunsDir, TokenizeOption, Tokenizer
from harness.core.errors import Exit
from harness.core.terminal import quieten_libraries

app = App()


@app.command(
    epilog="Examples:\n\n"
    "harness score answers.jsonl --task scienceqa --model my-model\n\n"
    'One line: {"id": "7", "raw": "The answer is B.", "choices": ["x", "y"], "target": 1}'
)
def score(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSONL with id, raw, target and, for multiple "
            "choice, choices (target is then a 0-based index). finish_reason, or finished (true, "
            "false), says whether a token limit cut the answer."
        ),
    ],
    task: Annotated[str, typer.Option("--task", "-t", help="Whose reader and metrics to use.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="What to call it; default: the file's name.")
    ] = None,
    split: Annotated[str, typer.Option(help="Which split the answers are of.")] = "test",
    skip_invalid: Annotated[
        bool,
        typer.Option("--skip-invalid", help="Leave out, count and list rows that do not fit."),
    ] = False,
    tokenize: TokenizeOption = Tokenizer.mteval,
    bertscore: BertScore = "roberta-large",
    runs: RunsDir = Path("runs"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Move a run that is there aside.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score answers that were made elsewhere: a run like any other, without a model."""
    from harness.cli.printing import print_result

    quieten_libraries()
    from harness.run.scoring import score_file
    from tasks import load_task

    run = score_file(
        file,
        load_task(task),
        label=model or file.stem,
        runs=runs,
        split=split,
        fresh=fresh,
        skip_invalid=skip_invalid,
        tokenize=tokenize.value,
        bertscore=None if bertscore == "none" else bertscore,
        command=["harness", *sys.argv[1:]],
    )
    print_first(run.skipped, "Skipped", "see `skipped` in run.json")
    print_result(run, as_json=as_json)
    print_silence(run)
    if run.record.is_silent:
        raise typer.Exit(Exit.FAILED_SAMPLES)
