"""Many ways of saying an answer plainly, each after the working of several questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.extract import extract_choice

DATA = json.loads((Path(__file__).parent / "data" / "plain-forms.json").read_text("utf-8"))


@pytest.mark.parametrize("question", DATA["questions"], ids=lambda one: one["choices"][0])
def test_plain_forms(question):
    """The option that is plainly said is read, whatever symbols and numbers the working has."""
    choices, index = question["choices"], question["answer"]
    said = {"L": "ABCDEFGHIJ"[index], "t": choices[index].rstrip(".")}
    texts = [question["working"] + "\n\n" + form.format(**said) for form in DATA["forms"]]
    assert [text for text in texts if extract_choice(text, choices).answer != index] == []
