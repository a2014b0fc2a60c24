"""docs/new-task.md: each of its blocks runs, in order, in an empty folder."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.api import task_parts

PAGE = Path(__file__).resolve().parents[1] / "docs" / "new-task.md"
BLOCKS = re.findall(r"```(python|sh)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def record(run: str) -> dict[str, Any]:
    return json.loads(Path("runs", run, "test", "run.json").read_text())


def test_every_block_runs(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From nothing to a leaderboard row; a block that begins with a file's name is that file. A
    metric that changes is computed again."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    said: list[str] = []
    for number, (kind, block) in enumerate(BLOCKS):
        if kind == "sh":
            for line in block.splitlines():
                made = command(*shlex.split(line)[1:])
                assert made.code == 0, (line, made.stderr)
                said.append(made.stdout)
        elif file := re.match(r"# (\S+\.py)\n", block):
            Path(file[1]).write_text(block)
        else:
            exec(compile(block, f"docs/new-task.md, block {number}", "exec"), names)  # ours
    choice, own, other = (
        record(run)
        for run in ("scienceqa/moondream-mini", "yes-no/moondream-mini", "yes-no/by-hand")
    )
    assert choice["counts"]["done"] == 4
    assert list(own["metric_info"]) == ["exact", "close", "f1_yes", "pictures", "unparsed"]
    assert [info["scope"] for info in own["metric_info"].values()] == [
        *("sample", "sample", "corpus", "group", "sample"),
    ]
    by_hand = [text for text in said if text.startswith("by-hand")]
    for text, exact, pictures in zip(
        by_hand, ("50.00%", "100.00%"), ("0.00%", "100.00%"), strict=True
    ):
        shown = " ".join(text.split())
        assert f"Exact match {exact}" in shown
        assert f"Whole pictures {pictures}" in shown
        assert "F1 of yes 100.00%" in shown
    assert other["metrics"]["exact"]["value"] == 1
    assert own["metrics"]["pictures"]["n"] == 4
    lines = Path("runs/yes-no/by-hand/test/predictions.jsonl").read_text().splitlines()
    assert all(set(json.loads(line)["scores"]) == {"exact", "close"} for line in lines)
    page = Path("reports/leaderboard.html").read_text()
    assert "by-hand" in page
    assert "Exact match" in page
    compared = next(text for text in said if "questions that both answered" in text)
    for title in ("Closeness", "F1 of yes", "Whole pictures"):
        assert title in compared


def test_the_page_has_blocks() -> None:
    """Blocks that are not found would test nothing."""
    assert [kind for kind, _ in BLOCKS].count("sh") >= 4
    assert [kind for kind, _ in BLOCKS].count("python") >= 4


def test_what_a_task_file_needs_is_in_one_place() -> None:
    """Every name that `harness` offers is there, with those of a task file among them."""
    assert set(task_parts.__all__) <= set(harness.__all__) <= set(dir(harness))
    assert all(getattr(harness, name) is not None for name in harness.__all__)
