"""The releases of transformers and torch that are supported, and what is said of the others."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.api import evaluate
from harness.cli import app
from harness.core.errors import Exit, HarnessError
from harness.core.versions import TORCH, TRANSFORMERS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Make another release look installed: what pip leaves of it, without its code."""

    def install(version: str, package: str = "transformers") -> None:
        info = tmp_path / f"{package}-{version}.dist-info"
        info.mkdir()
        text = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        (info / "METADATA").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)

    return install


@pytest.mark.parametrize(
    "version", ["4.46.3", "5.2.0", "5.17.1", "5.22.9", "5.25.0", "5.230.0", "6.0"]
)
def test_another_release_is_refused_at_start(installed, version) -> None:
    """One sentence with both versions, the command that helps, and an exit code that is not 0."""
    installed(version)
    error = CliRunner().invoke(app, ["list", "models"]).exception
    assert isinstance(error, HarnessError)
    assert error.what == f"harness runs on transformers 5.23 and 5.24; {version} is installed."
    assert error.remedy == f"pip install 'transformers{TRANSFORMERS.range}'"
    assert error.code != Exit.OK


@pytest.mark.parametrize("version", ["2.10.1", "2.14.0", "2.15.0+cu130", "3.0"])
def test_another_torch_is_refused_at_start(installed, version) -> None:
    """In the same words."""
    installed(version, "torch")
    error = CliRunner().invoke(app, ["list", "models"]).exception
    assert isinstance(error, HarnessError)
    assert error.what == f"harness runs on torch 2.11, 2.12 and 2.13; {version} is installed."
    assert error.remedy == f"pip install 'torch{TORCH.range}'"


def test_python_is_told_as_well(installed) -> None:
    """The call says it before it looks at its arguments."""
    installed("5.17.1")
    with pytest.raises(HarnessError, match=r"5\.17\.1 is installed"):
        evaluate("no model", "no task")


@pytest.mark.parametrize("version", ["2.11.0", "2.12.1+cu128", "2.13.0+cpu"])
def test_a_tested_torch_is_taken(installed, version) -> None:
    """Whatever it is built for."""
    installed(version, "torch")
    assert CliRunner().invoke(app, ["list", "models"]).exit_code == Exit.OK


@pytest.mark.parametrize(
    "command", ["eval --model vilt --task scienceqa", "distill", "distill train"]
)
def test_every_kind_of_command_is_refused(installed, command: str) -> None:
    """Those of a group, and a group that is a command itself."""
    installed("5.17.1")
    error = CliRunner().invoke(app, command.split()).exception
    assert isinstance(error, HarnessError)
    assert "5.17.1 is installed" in error.what


@pytest.mark.parametrize("version", ["5.23.0", "5.23.4", "5.24.0"])
def test_a_tested_release_is_taken(installed, version) -> None:
    """A patch of a tested release is one of them."""
    installed(version)
    assert CliRunner().invoke(app, ["list", "models"]).exit_code == Exit.OK


@pytest.mark.parametrize("command", [[], ["eval"], ["distill", "analyse"]])
def test_help_comes_whatever_is_installed(installed, command) -> None:
    """It says what the program does, even where that could not run."""
    installed("4.46.3")
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == Exit.OK
    assert "Usage" in result.stdout


def test_the_installer_is_asked_for_the_range_that_is_tested() -> None:
    """pyproject.toml, the check at start, the pin and `make test-versions` name the same releases."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in makefile if line.startswith("RELEASES ?= ")]
    combinations = [each.split("+") for each in line.removeprefix("RELEASES ?= ").split()]
    for place, requirement in enumerate((TRANSFORMERS, TORCH)):
        package, tested = requirement.package, list(requirement.tested)
        assert f"{package}{requirement.range}" in project["dependencies"]
        run = [each[place].rpartition(".")[0] for each in combinations]
        assert sorted(set(run)) == tested
        assert run[0] == tested[0]  # the oldest of both together, then the newest
        assert run[-1] == tested[-1]
        (pinned,) = [line for line in pins if line.startswith(f"{package}==")]
        assert pinned == f"{package}=={combinations[-1][place]}"
