"""Options that several commands share and no run is made with; the others are in
`harness.core.options`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from harness.core.declarations import OUTPUT, Option
from harness.core.errors import Exit, HarnessError
from harness.core.options import RUNS

MOST_CHOICES = 26
"""Options of a question that is asked from the shell."""

TASK = Option("A task of `harness list tasks`, or ./mine.py.")
TASKS = Option(
    "A task or a group of `harness list tasks`, ./mine.py, or a group in ./mine.toml.", commas=True
)
AsJson: TypeAlias = Annotated[
    bool, Option("Print one JSON document, nothing else.", panel=OUTPUT, flag="json", default=False)
]
DryRun: TypeAlias = Annotated[
    bool,
    Option(
        "Print what would run and what is missing, the configuration as TOML; run nothing. "
        "Something missing gives the exit code of the command itself.",
        panel=OUTPUT,
        default=False,
    ),
]
PageOut: TypeAlias = Annotated[
    Path,
    Option(
        "The page to write.", panel=OUTPUT, flag="out", default=Path("reports/leaderboard.html")
    ),
]
Choices: TypeAlias = Annotated[
    list[str] | None,
    Option("An answer option, once for each; none: an open question.", default=None),
]
RunArgument: TypeAlias = Annotated[Path, typer.Argument(help="A run folder.")]


def refuse_absent(runs: Path) -> None:
    """Refuse a folder of runs that does not exist, other than the default one."""
    if runs != RUNS.default and not runs.is_dir():
        raise HarnessError(f"{runs} is not a folder.", code=Exit.MISSING)


def check_choices(choices: Sequence[str]) -> None:
    """Refuse a number of options that is no question."""
    if len(choices) == 1 or len(choices) > MOST_CHOICES:
        raise HarnessError(
            f"--choices: 2 to {MOST_CHOICES} options, or none, are a question; found "
            f"{len(choices)}.",
            remedy="--choices once for each option.",
        )
