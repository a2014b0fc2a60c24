"""`harness completion SHELL`: a script for a shell to complete commands, options and names."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer
from typer.completion import (  # type: ignore[attr-defined]  # in its examples, not in its __all__
    completion_init,
    get_completion_script,
)

from harness.cli.commands import App
from harness.core.terminal import say

VARIABLE = "_HARNESS_COMPLETE"
"""The environment variable by which a shell's script asks for completions."""
Shell = Literal["bash", "zsh", "fish"]


def enable() -> None:
    """Let the command answer a shell's script that asks; to be called before it runs."""
    if VARIABLE in os.environ:
        completion_init()


app = App()


@app.command(
    epilog="Examples:\n\n"
    'eval "$(harness completion bash)"\n\n'
    'eval "$(harness completion zsh)"\n\n'
    "harness completion fish > ~/.config/fish/completions/harness.fish"
)
def completion(
    shell: Annotated[Shell, typer.Argument(help="The shell that the script is for.")],
) -> None:
    """Print the script that makes a shell complete commands, options, models and tasks."""
    script = get_completion_script(prog_name="harness", complete_var=VARIABLE, shell=shell)
    say(script)
