"""The README and the guides do not lie: every command in them is run here."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_RELATIVE = re.compile(r'\]\((?!https?:|#)|src="(?!https?:)')
GUIDES = ("evaluate", "results", "distil")


def commands(page: str) -> list[str]:
    """What a page tells its reader to type."""
    return [
        line.strip()
        for block in re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)
        for line in block.splitlines()
        if line.strip() and not line.startswith("#")
    ]


COMMANDS = commands(README)
ALL = [
    *COMMANDS,
    *(
        command
        for name in GUIDES
        for command in commands((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"))
    ),
]


def test_the_readme_has_its_two_commands_first() -> None:
    """One sets up and runs the main job, one sets up and passes the tests."""
    assert COMMANDS[:2] == ["make demo", "make test"]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make")])
@pytest.mark.process
def test_make_knows_its_targets(command: str) -> None:
    """What make would do is printed, not done: the demo has its own test, and this is the test."""
    subprocess.run([*shlex.split(command), "-n"], cwd=ROOT, check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path, tiny, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, with what the README's commands name."""
    for name, family in (("my-checkpoint", "llava"), ("my-phi", "phi-3.5")):
        shutil.copytree(tiny(family), tmp_path / name)
    shutil.copytree(tiny("moondream"), tmp_path / "my-moondream")
    shutil.copytree(drawn, tmp_path / "my-questions")
    shutil.copy(drawn / "images" / "biology-00.png", tmp_path / "pond.png")
    (tmp_path / "mine.py").write_text(
        "from dataclasses import replace\n"
        "from harness.core.types import DataOptions\n"
        "from tasks.scienceqa import TASK as SCIENCEQA\n"
        "from pathlib import Path\n"
        "def load(options):\n"
        "    return SCIENCEQA.load(replace(options, path=Path('my-questions')))\n"
        "TASK = replace(SCIENCEQA, name='mine', load=load, max_new_tokens=4)\n"
    )
    question = json.loads((drawn / "test.jsonl").read_text().splitlines()[0])
    answer = {"id": question["id"], "raw": "The answer is B.", "choices": question["choices"]}
    (tmp_path / "answers.jsonl").write_text(json.dumps({**answer, "target": question["answer"]}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("limit", [8, pytest.param(None, marks=pytest.mark.slow)])
def test_every_harness_command(command, folder: Path, limit: int | None) -> None:
    """In the order of the pages, in one folder: done, or stopped by what cannot be downloaded; with
    fewer questions, and as they are written."""
    own = folder / "my-questions" / "test.jsonl"
    own.write_text("".join(own.read_text().splitlines(keepends=True)[:limit]))
    # What the commands that need published weights would have left behind.
    for row in ("moondream", "moondream-kd"):
        command("score", "answers.jsonl", "--task", "scienceqa", "--model", row)
    missing = []
    for line in dict.fromkeys(ALL):
        fewer = re.sub(r"limit \d+", f"limit {limit}", line) if limit else line
        program, *arguments = shlex.split(fewer)
        if program != "harness":
            continue
        result = command(*arguments)
        told = ("hf download", "no published weights")
        if result.code == 3 and any(words in result.stderr for words in told):
            missing.append(line)
        else:
            assert result.code == 0, (line, result.stderr)
    assert missing, "no command is for published weights"
    assert (folder / "reports" / "leaderboard.html").exists()


def test_every_python_block(folder: Path) -> None:
    """In the same folder, one after another."""
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)


@pytest.mark.slow
@pytest.mark.process
def test_an_install_has_the_command_and_what_it_needs(tmp_path: Path) -> None:
    """`pip install .` brings the four packages, the minis and the page's templates; uv and pipx
    install the same."""
    (block,) = re.findall(r"```text\n(pip install .*?)```", README, flags=re.DOTALL)
    assert block.split("\n")[:3] == ["pip install .", "uv tool install .", "pipx install ."]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", tmp_path, "."], cwd=ROOT, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, tmp_path / "bin" / "harness", "list", "tasks"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "scienceqa-mini" in done.stdout
    assert {"harness", "tasks", "distill", "reports"} <= {path.name for path in tmp_path.iterdir()}
    assert [*tmp_path.glob("reports/page/templates/*.j2")]
    assert [*tmp_path.rglob("*.safetensors")]


def test_a_package_index_shows_no_broken_link() -> None:
    """Links and the picture lead to the repository's address, or are names where it has none."""
    from hatch_build import for_index

    assert len(_RELATIVE.findall(README)) > 20
    away = for_index(README, "https://example.org/harness")
    assert not _RELATIVE.search(away)
    assert "](https://example.org/harness/docs/evaluate.md)" in away
    assert 'src="https://example.org/harness/docs/leaderboard.png"' in away
    nowhere = for_index(README, "")
    assert not _RELATIVE.search(nowhere)
    assert (
        "evaluate a model, or a checkpoint of my own | Evaluate a model (`docs/evaluate.md`)"
        in nowhere
    )
    assert "<img" not in nowhere
