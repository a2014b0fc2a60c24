"""docs/tracking.md: its commands and its code run, and its options are those that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

from harness import cli
from tests.events import scalars, tensorboard_run

PAGE = (Path(__file__).parents[1] / "docs" / "tracking.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```sh\n(.*?)\n```", PAGE, re.DOTALL)
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
MISSING = [name for name in ("wandb", "tensorboard", "trackio") if find_spec(name) is None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, without a network."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "wandb" / name.lower()))
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
@pytest.mark.process
@pytest.mark.slow
def test_every_command_and_block_runs(command: Callable[..., Any], folder: Path) -> None:
    """In the page's order, in one folder; what they track is where the page says."""
    for line in COMMANDS:
        program, *arguments = shlex.split(line)
        result = command(*arguments)
        assert (program, result.code) == ("harness", 0), (line, result.stderr)
    for block in BLOCKS:
        exec(compile(block, "docs/tracking.md", "exec"), {})  # ours
    runs = folder / "runs" / "tracking" / "tensorboard" / "scienceqa-mini"
    (evaluation,) = runs.iterdir()
    names = set(tensorboard_run(evaluation).Tags()["scalars"])
    for name in re.findall(r"`(\w+)`", PAGE.partition("`progress/…`")[2].partition("\n- ")[0]):
        assert f"progress/{name}" in names
    assert {f"metrics/accuracy{end}" for end in ("", "/low", "/high", "/n")} <= names
    assert list((folder / "watched" / "wandb").glob("offline-run-*"))
    students = folder / "students" / "tracking" / "tensorboard" / "scienceqa-mini"
    (training,) = students.iterdir()
    events = tensorboard_run(training)
    for name in re.findall(r"`(train/\w+)`", PAGE):
        assert scalars(events, name)


def test_the_options_are_those_of_the_commands() -> None:
    """Each that the page names is one of `harness eval` or of a training, and none of tracking is left
    out."""
    assert len(COMMANDS) == 3
    assert len(BLOCKS) == 1
    group: Any = typer.main.get_command(cli.app)
    flags, of_trainings = (
        {flag for one in group.commands[name].params for flag in one.opts}
        for name in ("eval", "train")
    )
    named = set(re.findall(r"`(--[a-z-]+)`", PAGE))
    assert named <= flags | of_trainings
    assert {flag for flag in flags if flag.startswith("--track")} <= named
