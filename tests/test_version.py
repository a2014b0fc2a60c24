"""The version, from the command, the module and the package."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest
from typer.testing import CliRunner

import harness
from harness import cli


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_command_prints_its_version(flag: str) -> None:
    """One line, which is the package's."""
    done = CliRunner().invoke(cli.app, [flag])
    assert (done.exit_code, done.output) == (0, f"harness {harness.__version__}\n")
    assert harness.__version__ == metadata.version("harness-vlm")


@pytest.mark.process
def test_the_module_is_the_command() -> None:
    """`python -m harness` does what `harness` does, and calls itself so."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", "list", "--help"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "Usage: harness list" in done.stdout
