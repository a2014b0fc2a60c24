"""`harness mini`: train the miniatures that come with the package, and check their files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.commands import App
from harness.core.declarations import Option
from harness.core.terminal import quieten_libraries, say

app = App(help="Train the miniatures that come with the package, and verify their files.")


@app.command(
    epilog="Examples:\n\nharness mini pretrain phi-3.5 --out ./phi-3.5-mini\n\n"
    "harness eval --model phi-3.5 --weights ./phi-3.5-mini --task scienceqa-mini"
)
def pretrain(
    model: Annotated[
        str, typer.Argument(help="A model of `harness list models`; moondream-kd is distilled.")
    ],
    *,
    out: Annotated[Path, Option("Where the checkpoint and its card are put.")],
    seed: Annotated[
        int, Option("Seed of the first weights, and of the order of the questions.", default=0)
    ],
    keep: Annotated[
        Path | None,
        Option(
            "A folder for what each stage leaves, for the same command to resume from. Default: "
            "nothing is kept.",
            default=None,
        ),
    ],
    threads: Annotated[int, Option("CPU threads that compute.", minimum=1, default=1)],
) -> None:
    """Train a miniature on synthetic pictures, in five to sixty CPU minutes."""
    quieten_libraries()
    from harness.mini.build import BuildSettings, build_mini

    command = ["harness", *sys.argv[1:]]
    settings = BuildSettings(
        name=model, out=out, seed=seed, keep=keep, threads=threads, command=command
    )
    say(build_mini(settings) / "README.md")


@app.command(epilog="Example:\n\nharness mini verify")
def verify() -> None:
    """Compare every file of the shipped miniatures with its sha256."""
    from harness.weights import minis as weights

    for name in weights.names():
        say(f"{name}: {weights.find(name)}")
