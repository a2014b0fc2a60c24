"""docs/extraction.md says what the extractor does: its examples are run, and none is missing."""

from __future__ import annotations

import re
from pathlib import Path
from string import ascii_uppercase

import pytest

from harness.explaining import REASONS, RULES
from harness.reading import read_choice
from harness.types import is_finished
from tests.test_reading import TABLE

TEXT = (Path(__file__).parents[1] / "docs" / "extraction.md").read_text(encoding="utf-8")
BLOCKS = [
    dict(line.split(maxsplit=1) for line in block.splitlines())
    for block in re.findall(r"```text\n(options .*?)```", TEXT, flags=re.DOTALL)
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["output"][:40])
def test_an_example_is_what_the_extractor_does(block: dict[str, str]) -> None:
    """The answer, the rule, and the words that it comes from."""
    raw = block["output"].replace("↵", "\n")
    choices = block["options"].split(" | ")
    found = read_choice(raw, choices, finished=is_finished(block.get("finish", "")))
    letter = "none" if found.answer is None else ascii_uppercase[found.answer]
    assert f"{letter}, {found.rule}" == block["extract"]
    assert (raw[slice(*found.span)] if found.span else None) == block.get("from")


def test_every_rule_and_reason_has_an_example() -> None:
    """In the page, and in what `harness explain` says."""
    shown = {block["extract"].split(", ")[1] for block in BLOCKS}
    known = {*RULES, *REASONS} - {"whole text"}
    assert shown == known
    assert {expected.rule for *_, expected in TABLE} <= known
    assert all(f"**{name}**" in TEXT for name in known)
