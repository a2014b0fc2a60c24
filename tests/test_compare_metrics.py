"""Two runs compared by graded, corpus and group metrics, of ours and of a user's own task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

TASK = """
from dataclasses import replace

from harness.core.types import Metric
from tasks.textvqa import TASK as TEXTVQA


def counts(prediction):
    said, is_so = prediction.text == "yes", prediction.references[0] == "yes"
    return said and is_so, said and not is_so, is_so and not said


def length(prediction):
    return None if prediction.answer is None else len(prediction.text)


F1 = Metric("f1", "F1 of yes", counts, aggregate=lambda hit, false, miss: hit / (hit + false + miss))
LENGTH = Metric("length", "Length", length, unit="", higher_is_better=False)
TASK = replace(TEXTVQA, name="mine", title="Mine", metrics=(LENGTH, F1))
"""


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.fixture
def scored(command, tmp_path: Path):
    """The folder of a run that is made of raw answers to questions of which every other is yes."""

    def run(task: str | Path, name: str, raws: list[str], **fields: Any) -> str:
        rows = [
            {"id": str(i), "raw": raw, "answers": ["yes" if i % 2 else "no"] * 10}
            | {key: value(i) for key, value in fields.items()}
            for i, raw in enumerate(raws)
        ]
        file = write(tmp_path / f"{name}.jsonl", rows)
        made = command("score", file, "-t", task, "--runs", tmp_path / "runs", "--json")
        return made.json["folder"]

    return run


def test_graded_scores_are_compared_by_a_paired_bootstrap(command, scored) -> None:
    """In points, with an interval; groups are resampled whole, which makes it wider."""
    right, wrong = ["yes" if i % 2 else "no" for i in range(40)], ["no"] * 40
    alone = [scored("textvqa", name, raws) for name, raws in (("a", wrong), ("b", right))]
    found = command("compare", *alone, "--json").json
    assert found["differences"]["vqa_accuracy"]["difference"] == pytest.approx(0.5)
    assert (found["only_first"], found["only_second"]) == (0, 20)
    assert command("compare", *alone).stdout.startswith("b against a: +50.0 points on ")


def test_groups_make_the_interval_of_graded_scores_wider(command, scored) -> None:
    """Answers that are right in whole groups are as many as there are groups."""
    rows = ["yes" if i % 2 and i // 8 % 2 else "maybe no" for i in range(80)]
    widths = []
    for name, group in (("", lambda i: ""), ("grouped", lambda i: str(i // 8))):
        folders = [
            scored("docvqa", f"{which}{name}", raws, group=group)
            for which, raws in (("a", ["no idea"] * 80), ("b", rows))
        ]
        difference = command("compare", *folders, "--json").json["differences"]["anls"]
        widths.append(difference["high"] - difference["low"])
    assert widths[1] > 1.3 * widths[0]


def test_metrics_of_ones_own_task_are_compared(command, scored, tmp_path: Path) -> None:
    """Of a corpus where its file is named; where lower is better, the shorter is better."""
    mine = tmp_path / "mine.py"
    mine.write_text(TASK)
    long = ["yes" if i % 2 else "certainly not" for i in range(40)]
    short = ["yes" if i % 4 else "no" for i in range(40)]
    folders = [scored(mine, "a", long), scored(mine, "b", short)]
    alone = command("compare", *folders)
    assert "Length on 40 shared questions; p = 0.0010: b is better" in alone.stdout
    assert "F1 of yes is not compared" in alone.stdout
    assert command("compare", *folders, "--fail-if-worse").code == 0
    assert command("compare", *reversed(folders), "--fail-if-worse").code == 5
    both = command("compare", *folders, "--task", mine)
    assert "b against a, F1 of yes: \N{MINUS SIGN}" in both.stdout
    found = command("compare", *folders, "--task", mine, "--json").json
    assert found["differences"]["f1"]["difference"] == pytest.approx(20 / 30 - 1)


def test_a_corpus_metric_is_compared_on_the_questions_that_it_scores_in_both(
    command, scored, tmp_path: Path
) -> None:
    """Where it does not score an answer of one run, the other's answer is left out too."""
    mine = tmp_path / "mine.py"
    silent = '    if prediction.text == "pass":\n        return None\n    said'
    mine.write_text(TASK.replace("    said", silent, 1))
    right = ["yes" if i % 2 else "no" for i in range(40)]
    folders = [scored(mine, "a", ["pass", "pass", *right[2:]]), scored(mine, "b", [*right])]
    found = command("compare", *folders, "--task", mine, "--json").json
    assert found["differences"]["f1"]["difference"] == 0.0
    assert found["differences"]["f1"]["n"] == 38


def test_circular_accuracy_is_compared_by_groups(command, tmp_path: Path) -> None:
    """Twelve questions in two orders: a question is right where both are, and n is theirs."""
    folders = []
    for name, second in (("a", "A"), ("b", "B")):
        rows = [
            {"id": f"{q}-{o}", "raw": second if o else "A", "group": str(q), "target": o,
             "choices": ["x", "y"]}
            for q in range(12) for o in (0, 1)
        ]  # fmt: skip
        file = write(tmp_path / f"{name}.jsonl", rows)
        made = command("score", file, "-t", "mmbench", "--runs", tmp_path / "runs", "--json")
        folders.append(made.json["folder"])
    found = command("compare", *folders, "--json").json
    assert found["differences"]["circular_accuracy"]["difference"] == 1.0
    assert found["differences"]["circular_accuracy"]["n"] == 12
    assert found["differences"]["accuracy"]["difference"] == 0.5
    assert (found["only_first"], found["only_second"]) == (0, 12)
