"""`harness explain`: the answer, the words that it comes from, and the steps between."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from harness.extract.explain import explain
from tests.test_scoring import CHOICES

OPTIONS = [part for choice in CHOICES for part in ("--choices", choice)]
RAW = (
    "<think>Maybe A.</think> A is wrong because it is south. So the answer is (B).\n"
    "Question: what else? A"
)


def test_an_answer_is_explained_step_by_step(command) -> None:
    """What it is, by which rule, what was read of the text, what it states, and where."""
    done = command("explain", RAW, *OPTIONS)
    assert done.code == 0
    for words in (
        "Answer: B, Illinois",
        "Rule: answer phrase. A phrase says what the answer is.",
        "Finished: unknown",
        "says A: A is wrong",
        "So the ⟦answer is (B)⟧",
    ):
        assert words in done.stdout
    assert "of 100 characters" in done.stdout


def test_the_same_as_json(command) -> None:
    """For programs; places are characters of the text."""
    found = command("explain", RAW, *OPTIONS, "--json").json
    assert (found["answer"], found["choice"], found["rule"]) == (1, "Illinois", "answer phrase")
    start, end = found["span"]
    assert RAW[start:end] == found["words"]
    assert found["words"] == "answer is (B)"
    [(start, end)] = found["kept"]
    assert RAW[start:end].strip().startswith("A is wrong")
    assert "Question" not in RAW[start:end]
    kinds = [(one["kind"], one["says"]) for one in found["statements"]]
    assert ("rejection", "A") in kinds
    assert ("answer phrase", "B") in kinds
    for one in found["statements"]:
        start, end = one["span"]
        assert RAW[start:end] == one["words"]


def test_a_text_may_come_from_a_file_or_from_stdin(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it is, and whatever bytes are in it."""
    path = tmp_path / "output.txt"
    path.write_bytes(b"x" * 100_000 + b"\xff\nThe answer is (C).")
    assert "Answer: C, Connecticut" in command("explain", "--file", path, *OPTIONS).stdout
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"The answer is A.")))
    assert "Answer: A, Alabama" in command("explain", "-", *OPTIONS).stdout


def test_whether_a_text_is_finished_makes_a_difference(command) -> None:
    """A letter at the end of a cut text is no answer."""
    text = "We look at each of them in turn. The first is far to the south.\nSo we are left with\nB"
    assert command("explain", text, *OPTIONS, "--finished", "--json").json["answer"] == 1
    cut = command("explain", text, *OPTIONS, "--cut", "--json").json
    assert (cut["answer"], cut["rule"]) == (None, "unfinished")
    assert "no explicit statement" in cut["meaning"]


def test_an_open_answer_is_explained_too(command) -> None:
    """What of the text is scored."""
    found = command("explain", "  A whale.\n\nUSER: more?", "--json").json
    assert (found["answer"], found["rule"]) == ("A whale.", "whole text")
    assert found["words"] == "A whale."
    assert found["statements"] == []


def test_what_cannot_be_explained_is_said(command, tmp_path: Path) -> None:
    """No text, two, a single option, no such file, or one that is none."""
    os.mkfifo(tmp_path / "pipe")
    for arguments, code, words in (
        ((), 2, "Give either a text or --file"),
        (("x", "--file", tmp_path), 2, "Give either a text or --file"),
        (("x", "--choices", "one"), 2, "2 to 26 options, or none, are a question; found 1"),
        (("--file", tmp_path / "none"), 3, "cannot be read: No such file"),
        (("--file", tmp_path / "pipe"), 3, "not a regular file"),
    ):
        done = command("explain", *arguments)
        assert done.code == code
        assert words in done.stderr


@pytest.mark.parametrize("raw", ["", " \n", "\x00\ud800", "B", "(B) " * 50_000, "</think>" * 500])
def test_any_text_is_explained(raw: str) -> None:
    """As any text is read."""
    found = explain(raw, CHOICES)
    assert found.meaning
    assert json.dumps(found.to_json())
