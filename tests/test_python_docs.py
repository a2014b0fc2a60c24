"""docs/python.md: each of its code blocks runs, in order, and says what comes out."""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harness

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_every_code_block_runs(
    tiny: Callable[..., Path],
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a folder with a checkpoint and questions, as a reader of the page has them."""
    shutil.copytree(tiny("llava"), tmp_path / "ckpt")
    shutil.copytree(drawn, tmp_path / "questions")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"docs/python.md, block {number}", "exec"), names)  # ours
    assert names["first"].folder == Path("runs/scienceqa/ckpt/test")
    assert names["comparison"].n == 8
    assert 0 < len(names["wrong"]) <= 20
    assert "There is no option 'limt'. Did you mean 'limit'?" in capsys.readouterr().out
    made = sorted(path.parent.name for path in (tmp_path / "runs/scienceqa").glob("*/test"))
    assert made == ["ckpt", "plain", "step-10", "step-20"]


def test_the_page_names_the_interface() -> None:
    """Blocks that are not found would test nothing; options that it names are there."""
    assert len(BLOCKS) >= 7
    options = inspect.signature(harness.evaluate).parameters
    text = PAGE.read_text(encoding="utf-8")
    named = re.search(r"the same default: (.*?) \.\.\.", text, re.DOTALL)
    assert named
    assert {*re.findall(r"`(\w+)`", named[1])} <= {*options}
