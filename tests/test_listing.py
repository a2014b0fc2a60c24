"""`harness list`: what there is, at any width, and as JSON."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import cli
from harness.core import terminal
from tasks import SECTIONS, TASKS, groups, load_task
from tests.conftest import Result
from tests.test_options import COMMANDS


def test_every_task_is_listed_in_one_section() -> None:
    """None is forgotten, none is there twice."""
    listed = [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_how_many_questions_it_has(name: str) -> None:
    """Of the split that is asked where none is named."""
    assert (load_task(name).questions or 0) > 0


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (60, ["task", "split", "n", "metric"]),
        (80, ["task", "split", "n", "metric", "licence"]),
        (160, ["task", "split", "n", "metric", "licence", "about"]),
    ],
)
def test_tasks_fit_the_terminal(
    width: int, columns: list[str], command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns are left out where there is no room for them; no word is broken."""
    monkeypatch.setattr(terminal, "WIDTH_OF_A_PIPE", width)
    done = command("list", "tasks")
    lines = done.stdout.partition("--task small-vlm")[0].splitlines()
    assert max(map(len, lines)) <= width
    assert lines[2].split() == columns
    words = set(done.stdout.split())
    for row in command("list", "tasks", "--json").json["tasks"]:
        assert row["name"] in words
        assert set(row["metrics"][0]["title"].split()) <= words
        assert row["split"] in words
        if "licence" in columns:
            assert set((row["licence"] or "not stated").split()) <= words
    assert [line.strip() for line in lines if line.strip() in SECTIONS] == list(SECTIONS)


@pytest.mark.parametrize("width", [60, 80])
def test_models_fit_the_terminal(
    width: int, command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names stay whole."""
    monkeypatch.setattr(terminal, "WIDTH_OF_A_PIPE", width)
    done = command("list", "models")
    table = done.stdout.partition("Any other")[0]
    assert max(map(len, table.splitlines())) <= width
    assert "Phi-3.5-vision-instruct" in table


def test_the_list_of_tasks_has_the_official_metric_first(command: Callable[..., Result]) -> None:
    """In JSON with all others, the section, the licence and the server of its other splits."""
    rows = {row["name"]: row for row in command("list", "tasks", "--json").json["tasks"]}
    assert [metric["name"] for metric in rows["mmbench"]["metrics"]] == [
        "circular_accuracy",
        "accuracy",
    ]
    found = {key: rows["docvqa"][key] for key in ("group", "split", "n", "licence", "submission")}
    assert found == {
        "group": "Documents",
        "split": "validation",
        "n": 5349,
        "licence": "Apache-2.0",
        "submission": "the Robust Reading Competition",
    }


def test_lists_name_the_groups(command: Callable[..., Result]) -> None:
    """With their tasks, for people and for programs."""
    assert "--task small-vlm: mmstar, mmmu, ai2d" in command("list", "tasks").stdout
    (group,) = command("list", "tasks", "--json").json["groups"]
    assert group["name"] == "small-vlm"
    assert group["tasks"] == [entry.task for entry in groups.load_group("small-vlm").entries]


ELSEWHERE = {"check", "ask", "bench", "train"}
"""They run or train a model, and tests of their own read their JSON; so do the stages of a
distillation."""


def test_every_command_with_json_prints_one_document(
    command: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is about: lists, runs, one question, a dry run."""
    monkeypatch.chdir(tmp_path)
    answers = Path("answers.jsonl")
    row = {"id": "1", "raw": "B", "choices": ["x", "y"], "target": 1}
    answers.write_text("".join(json.dumps({**row, "id": str(n)}) + "\n" for n in range(3)))
    run = "runs/scienceqa/m/test"
    mini = ("--model", "vilt", "--size", "mini", "--task", "scienceqa", "--data", "drawn")
    ways: dict[str, tuple[object, ...]] = {
        "score": (answers, "--task", "scienceqa", "--model", "m"),
        "list models": (),
        "list tasks": (),
        "list runs": (),
        "rescore": (run,),
        "show": (run,),
        "compare": (run, run),
        "explain": ("The answer is B.", "--choices", "x", "--choices", "y"),
        "report": (),
        "export": ("--format", "csv", "--out", "tables.csv"),
        "draw": ("drawn", "--count", 2),
        "eval": (*mini, "--dry-run"),
    }
    with_json = {name for name, one in COMMANDS.items() if "--json" in _flags(one)}
    assert {name for name in with_json if not name.startswith("distill")} == {*ways, *ELSEWHERE}
    for name, arguments in ways.items():
        done = command(*name.split(), *arguments, "--json")
        assert done.stdout.startswith("{"), (name, done.stderr)
        assert isinstance(done.json, dict)
        assert "Traceback" not in done.stderr


def _flags(command: Any) -> list[str]:
    return [flag for one in command.params for flag in one.opts]


def test_models_as_json_have_every_field(command: Callable[..., Result]) -> None:
    """Mappings too, whatever row has them."""
    rows = command("list", "models", "--json").json["models"]
    assert all(isinstance(row["processor_args"], dict) for row in rows)
    assert {row["name"] for row in rows} >= {"moondream", "phi-3.5", "vilt"}


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`harness list models | head -1` ends with 0: nothing that was asked for is lost."""
    assert cli._tell_dropped(OSError(errno.EPIPE, "Broken pipe")) == 0
