"""What commands print of runs: which questions n counts, measures by their titles, folders as they
were given."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli.distill.printing import print_values
from harness.cli.printing import scope
from harness.core.errors import HarnessError
from harness.core.types import Value
from harness.run.folder import RunFolder
from harness.run.records import Counts, ModelInfo, RunRecord, TaskInfo
from reports.export.exporter import export


def record(**counts: int) -> RunRecord:
    return RunRecord(
        task=TaskInfo(name="t", title="T", split="test", unit="image questions"),
        model=ModelInfo(name="m", title="M"),
        fingerprint={},
        counts=Counts(**counts),
    )


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (
            {"total": 4241, "available": 2017, "done": 2017},
            "2,017 image questions, of 4,241 in all",
        ),
        ({"total": 1050, "available": 1050, "done": 20}, "20 of 1,050 image questions"),
        ({"total": 9, "available": 9, "done": 9, "failed": 1}, "8 of 9 image questions; 1 failed"),
        ({"total": 9, "available": 5, "done": 2}, "2 of 5 image questions, of 9 in all"),
    ],
)
def test_what_n_counts_is_said_once(counts: dict[str, int], words: str) -> None:
    """How many of how many, and of what; no number stands twice."""
    assert scope(record(**counts)) == words


def test_the_list_of_runs_says_once_what_failed(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    """Among what is not answered, and not beside n again. A run that cannot be read is an error, and
    no empty table."""
    asked = Counts(total=9, available=9, done=9, failed=2)
    folder = RunFolder.of(tmp_path, task="t", model="m", split="test")
    folder.write_record(replace(record(total=9), counts=asked, status="complete"))
    shown = command("list", "runs", "--runs", tmp_path).stdout
    assert shown.count("failed") == 1
    assert "7 of 9 image questions" in " ".join(shown.split())
    (folder.path / "run.json").write_text("{")
    broken = command("list", "runs", "--runs", tmp_path)
    assert (broken.code, broken.stdout) == (3, "")
    assert "run.json" in broken.stderr


def test_measures_have_titles_and_shares_are_percentages(capsys) -> None:
    """As on the page; a measure that is not known keeps its name."""
    half = Value(value=0.5, n=4, low=0.25, high=0.75)
    print_values("T", {"all_tags": half, "image_gain": half, "of_tomorrow": Value(value=None, n=0)})
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "All four tags 50.0% 25.0 to 75.0 4" in rows
    assert "Image gain 0.500 0.250 to 0.750 4" in rows
    assert "of tomorrow — — 0" in rows


def test_a_rescored_run_is_named_as_it_was_given(
    command, drawn: Path, tmp_path: Path, monkeypatch
) -> None:
    """By a relative path where it was one; inside the run's folder it is found all the same."""
    monkeypatch.chdir(tmp_path)
    question = json.loads((drawn / "test.jsonl").read_text().splitlines()[0])
    answer = {"id": "1", "raw": "A", "choices": question["choices"], "target": 0}
    Path("answers.jsonl").write_text(json.dumps(answer))
    command("score", "answers.jsonl", "--task", "scienceqa", "--model", "m")
    made = command("rescore", "runs/scienceqa/m/test", "--extractor", "paper-base")
    assert "Run: runs/scienceqa/m+paper-base/test\n" in made.stdout
    monkeypatch.chdir("runs/scienceqa/m/test")
    assert command("rescore", ".", "--extractor", "paper-kd").code == 0
    assert Path("../../m+paper-kd/test/run.json").is_file()


def test_an_export_names_every_run_that_it_leaves_out(command, tmp_path: Path) -> None:
    """Not the first alone."""
    for name in ("one", "two"):
        file = tmp_path / "answers.jsonl"
        file.write_text('{"id": "1", "raw": "A", "choices": ["x", "y"], "target": 0}')
        done = command(
            "score", file, "--task", "scienceqa-mini", "--model", name, "--runs", tmp_path / "runs"
        )
        assert done.code == 0, done.stderr
    with pytest.raises(HarnessError) as error:
        export("hf", tmp_path / "runs", task=None, out=tmp_path / "out", dataset=None)
    assert all(f"The run of {name} on" in str(error.value) for name in ("one", "two"))
