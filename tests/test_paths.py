"""Paths as users write them: `~` is the home folder wherever a path is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from harness import cli
from harness.cli.commands import Command, Group
from harness.core.errors import HarnessError
from harness.core.files.paths import user_path


def commands(found: Any, name: str = "harness") -> dict[str, Any]:
    """Every command below this one, by its words."""
    below = getattr(found, "commands", {})
    return {name: found} | {
        k: v for key, each in below.items() for k, v in commands(each, f"{name} {key}").items()
    }


@pytest.mark.parametrize(
    "found", [pytest.param(v, id=k) for k, v in commands(typer.main.get_command(cli.app)).items()]
)
def test_every_command_expands_its_paths(found: Any) -> None:
    """The command line has no command of another kind."""
    assert isinstance(found, Command | Group)


def test_the_home_folder_is_meant_behind_an_equals_sign(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no shell has expanded it: options, arguments, paths behind TASK=."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(home))
    row = {"id": "1", "raw": "A", "choices": ["x", "y"], "target": 0}
    (home / "answers.jsonl").write_text(json.dumps(row))
    for arguments in (
        "score ~/answers.jsonl --task scienceqa --model m --runs=~/r",
        "show ~/r/scienceqa/m/test",
        "report --runs=~/r --out=~/p.html --data scienceqa=~/answers.jsonl",
        "export --format=lm-eval --runs=~/r --out=~/e",
        "draw ~/questions --count 2",
        "list runs --runs=~/r",
    ):
        result = command(*arguments.split())
        assert result.code == 0, (arguments, result.stderr)
    assert not list((tmp_path / "here").iterdir())
    assert {path.name for path in home.iterdir()} == {
        "answers.jsonl",
        "r",
        "p.html",
        "e",
        "questions",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        "eval --model ~/no --task scienceqa-mini",
        "check ~/no",
        "eval --model moondream --weights=~/no --task scienceqa-mini",
        "eval --model moondream --size mini --task ~/no.py",
        "eval --model moondream --size mini --task scienceqa --data=scienceqa=~/no",
        "score ~/no.jsonl --task scienceqa",
        "ask --model moondream --size mini -q why --image=~/no.png",
        "distill train --runs=~/no",
        "distill rationales --import=~/no.csv --data=~/no",
    ],
)
def test_what_is_missing_is_missing_at_home(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    """Nothing is looked for, or made, in a folder called ~."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert command(*arguments.split()).code in {2, 3}
    assert not (tmp_path / "~").exists()


def test_an_unknown_users_home_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder called ~nobody-here is made by mistake; one that is there can be named."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HarnessError, match="no user 'nobody-here'"):
        user_path("~nobody-here/runs")
    (tmp_path / "~nobody-here").mkdir()
    assert user_path("~nobody-here/runs") == Path("~nobody-here/runs")
    assert user_path("./~nobody/x") == Path("~nobody/x")
