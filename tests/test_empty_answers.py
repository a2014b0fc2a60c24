"""A run in which every answer is empty is no success."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faulty import Server, completion


def rows(*raws: str) -> str:
    return "".join(
        json.dumps({"id": str(i), "raw": raw, "choices": ["x", "y"], "target": 0}) + "\n"
        for i, raw in enumerate(raws)
    )


@pytest.mark.parametrize(("raws", "silent"), [(("", " \n", ""), True), (("", "A", ""), False)])
def test_answers_made_elsewhere(command, tmp_path: Path, raws, silent: bool) -> None:
    """It is said, and exit 4; one word anywhere is enough."""
    file = tmp_path / "a.jsonl"
    file.write_text(rows(*raws))
    arguments = ("score", file, "--task", "scienceqa", "--runs", tmp_path / "runs")
    result = command(*arguments)
    assert result.code == (4 if silent else 0)
    assert ("Every one of 3 answers is empty" in result.stderr) == silent
    assert ("every answer is empty" in result.stdout) == silent
    assert command(*arguments, "--json").json["counts"]["empty"] == (3 if silent else 2)
    listed = command("list", "runs", "--runs", tmp_path / "runs").stdout
    assert ("every answer is empty" in " ".join(listed.split())) == silent


def test_a_model_that_says_nothing(command, drawn: Path, tmp_path: Path) -> None:
    """Whatever the reason, a template that is not its own or a server that filters."""
    with Server(lambda _: completion("")) as server:
        result = command(
            *("eval", "--model", "openai:x", "--base-url", server.url, "--task", "scienceqa"),
            *("--data", drawn, "--limit", 5, "--runs", tmp_path / "runs"),
        )
    assert result.code == 4
    assert "Every one of 5 answers is empty" in result.stderr
    assert "--style" in result.stderr
