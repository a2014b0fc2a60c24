"""docs/extraction.md says what the extractor does: its examples are run, and none is missing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pytest

from harness.core.finish import is_finished
from harness.extract import extract_choice
from harness.extract.explain import REASONS, RULES
from tests.test_reading import TABLE

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "extraction.md").read_text(encoding="utf-8")
BLOCKS = [
    dict(line.split(maxsplit=1) for line in block.splitlines())
    for block in re.findall(r"```text\n(options .*?)```", TEXT, flags=re.DOTALL)
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["output"][:40])
def test_an_example_is_what_the_extractor_does(block: dict[str, str]) -> None:
    """The answer, the rule, and the words that it comes from."""
    raw = block["output"].replace("↵", "\n")
    choices = block["options"].split(" | ")
    found = extract_choice(raw, choices, finished=is_finished(block.get("finish", "")))
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


def figures() -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "extraction.json").read_text())


def rows(text: str, head: str) -> list[str]:
    """The rows of the table that begins with this head."""
    _, _, rest = text.partition(f"{head}\n")
    return rest.partition("\n\n")[0].strip("\n").split("\n")[1:]


def test_the_comparison_is_what_was_measured() -> None:
    """The tables of the page and of RESULTS.md hold the benchmark's own figures."""
    found = figures()
    accuracy = found.pop("accuracy")
    (labels,) = found.values()
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    expected = {}
    for name, each in labels.items():
        kinds = (each[kind] for kind in ("right", "wrong option", "missed"))
        shown = " | ".join(f"{n} ({100 * n / each['n']:.1f}%)" for n in kinds)
        expected[name] = f"| {name} | {shown} |"
    assert rows(TEXT, "| rule | right | wrong option | missed |") == list(expected.values())
    timed = [f"{expected[name]} {each['ms']} |" for name, each in labels.items()]
    assert rows(results, "| rule | right | wrong option | missed | ms an output |") == timed
    assert rows(TEXT, f"| accuracy | {' | '.join(labels)} |") == [
        f"| {model} | {' | '.join(f'{100 * share:.1f}%' for share in each.values())} |"
        for model, each in accuracy.items()
    ]
