"""Official readings of answers, and ours beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.run.answers_file import score_file
from tasks import load_task


def test_pope_reads_an_answer_that_says_neither_as_yes_and_we_do_not(tmp_path: Path) -> None:
    """Its figure counts it as yes; ours counts it as unparsed, and both are there."""
    file = tmp_path / "a.jsonl"
    raws = ["Yes, there is.", "No.", "There is a dog, not a cat.", "A dog."]
    rows = [{"id": str(n), "raw": raw, "target": "yes"} for n, raw in enumerate(raws)]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    metrics = score_file(file, load_task("pope"), label="m", runs=tmp_path).record.metrics
    assert metrics["yes_ratio"].value == 0.5
    assert metrics["unparsed"].value == 0.5
    assert metrics["exact_match"].value == 0.25


def test_realworldqa_extracts_letters_beside_its_exact_match(tmp_path: Path) -> None:
    """Of questions whose answer is a letter; the options are in the question, or letters."""
    file = tmp_path / "a.jsonl"
    question = "Which way?\n\nA. Left\nB. Right\nPlease answer directly with a letter."
    rows = [
        {"raw": "B", "target": "B", "question": question},
        {"raw": "B. Right", "target": "B", "question": question},
        {"raw": "It is right", "target": "B", "question": question},
        {"raw": "(A)", "target": "B"},
        {"raw": "Two.", "target": "two"},
        {"raw": "about two", "target": "two"},
    ]
    lines = (json.dumps({"id": str(n), **row}) + "\n" for n, row in enumerate(rows))
    file.write_text("".join(lines))
    metrics = score_file(file, load_task("realworldqa"), label="m", runs=tmp_path).record.metrics
    assert metrics["exact_match"].value == pytest.approx(2 / 6)
    assert metrics["letter_match"].value == pytest.approx(4 / 6)
