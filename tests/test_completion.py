"""The scripts of `harness completion`, run by the shells that they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
ASK = {
    "bash": 'eval "$SCRIPT"; COMP_WORDS=({words}); COMP_CWORD={place}; _harness_completion harness; '
    'printf "%s\\n" "${{COMPREPLY[@]}}"',
    # The completion system needs a terminal; what the function hands over to it is looked at.
    "zsh": "compdef() {{ : }}; _arguments() {{ print -r -- $@ }}; _describe() {{ print -r -- $@ }}; "
    'eval "$SCRIPT"; words=({words}); CURRENT={count}; _harness_completion',
    "fish": 'echo $SCRIPT | source; complete --do-complete "{line}"',
}


@pytest.fixture(scope="module")
def script() -> Callable[[str], str]:
    """`script("bash")` is what the command prints for that shell."""

    @cache
    def printed(shell: str) -> str:
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        command = [BIN / "harness", "completion", shell]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    return printed


LINES = {
    "harness ev": ["eval"],
    "harness list ": ["models", "tasks", "runs"],
    "harness eval --mo": ["--model", "--mode"],
    "harness eval --style str": ["structured"],
    "harness eval --model moon": ["moondream", "moondream-kd"],
    "harness eval --task vqa": ["vqaonline", "vqaonline-mini"],
}
BY_ALL = ("harness list ", "harness eval --model moon")
"""Nothing typed of a word, and some: what a shell hands over. What is offered is one function's."""


@pytest.mark.process
@pytest.mark.parametrize(
    ("shell", "line"),
    [(shell, line) for shell in ASK for line in (LINES if shell == "bash" else BY_ALL)],
)
def test_a_shell_completes(
    script: Callable[[str], str], shell: str, line: str, tmp_path: Path
) -> None:
    """Commands, options, choices, models and tasks, by the script that the command printed."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    ask = ASK[shell].format(words=quoted, place=len(words) - 1, count=len(words), line=line)
    done = subprocess.run(
        [shell, "-c", ask],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "SCRIPT": script(shell)},
        capture_output=True,
        text=True,
    )
    for word in LINES[line]:
        assert word in done.stdout.replace("\\:", ":"), done.stderr
    assert "Traceback" not in done.stderr
