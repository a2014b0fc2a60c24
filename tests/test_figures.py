"""The figures of docs/miniature.md are those that the benchmarks wrote."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from harness.checkpoints.catalog import CATALOG

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "miniature.md").read_text(encoding="utf-8")
PARTS = ("all", "one step", "several steps")
EFFECT = {
    "before": "before",
    "answers-equal-steps": "answers alone, equal steps",
    "answers-equal-compute": "answers alone, equal compute",
    "structured": "structured rationales",
}


def figures(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "benchmarks" / f"{name}.json").read_text())
    return found


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def rows(first: str) -> list[list[str]]:
    """The cells of every row of a table that begins with this cell."""
    lines = [line.strip("|").split("|") for line in TEXT.splitlines() if line.startswith("|")]
    return [[c.strip() for c in cells] for cells in lines if cells[0].strip() == first]


STUDENTS = {"effect": "", "effect-phi-3.5": "Phi-3.5: "}
"""File of figures -> what the first cells of its table begin with."""


@pytest.mark.parametrize(("name", "student"), STUDENTS.items())
@pytest.mark.parametrize(("label", "words"), EFFECT.items())
def test_the_effect_is_what_was_measured(name: str, student: str, label: str, words: str) -> None:
    """Mean and every seed, in all questions and by steps, and the tokens of training."""
    found = figures(name)
    expected = []
    for part in PARTS:
        seeds = [each["value"] for each in found["accuracy"][part][label]]
        each = f" ({', '.join(map(percent, seeds))})" if label != "before" else ""
        expected.append(percent(fmean(seeds)) + each)
    tokens = found["training_tokens"].get(label)
    millions = f"{fmean(tokens) / 1e6:.1f}" if tokens else ""
    assert rows(student + words) == [[student + words, *expected, millions]]


@pytest.mark.parametrize(("name", "student"), STUDENTS.items())
@pytest.mark.parametrize(("label", "words"), list(EFFECT.items())[:3])
def test_the_differences_are_what_was_measured(
    name: str, student: str, label: str, words: str
) -> None:
    """With their intervals, and the largest p of a seed."""
    expected, tests = [], []
    for part in PARTS:
        found = figures(name)["differences"][part]
        (row,) = (each for each in found if each["first"] == label)
        low, value, high = (f"{100 * row[key]:+.1f}" for key in ("low", "difference", "high"))
        expected.append(f"{value} ({low} to {high})")
        tests += [test["p"] for test in row["seeds"]]
    first = f"{student}structured against {words}"
    assert rows(first) == [[first, *expected, f"{max(tests):.1g}"]]


@pytest.mark.parametrize("name", STUDENTS)
def test_the_control_learns_as_long(name: str) -> None:
    """Equal compute: no seed of the rationales was trained on more tokens."""
    tokens = figures(name)["training_tokens"]
    pairs = zip(tokens["answers-equal-compute"], tokens["structured"], strict=True)
    assert all(answers >= rationales for answers, rationales in pairs)


@pytest.mark.parametrize("spec", CATALOG, ids=lambda spec: spec.name)
def test_the_minis_are_what_was_measured(spec) -> None:
    """On both tasks, with intervals, and the controls."""
    found = figures("minis")["models"][spec.name]
    choice, *_ = (found[f"scienceqa-mini {name}"] for name in ("accuracy", "unparsed"))
    title = spec.title.removesuffix("-instruct")
    first, second = rows(title)[-2:]
    blind, other = (
        f"{kind}, validation" for kind in ("without pictures", "with another's picture")
    )
    unparsed = found["without pictures, unparsed, validation"][0]
    assert first[3:] == [
        f"{percent(choice[0])} ({percent(choice[1])} to {percent(choice[2])})",
        percent(found["scienceqa-mini one step"][0]),
        percent(found["scienceqa-mini several steps"][0]),
        f"{percent(found[blind][0])} ({100 * unparsed:.0f})",
        percent(found[other][0]),
    ]
    assert second[1:] == [
        f"{value:.3f}" if low is None else f"{value:.3f} ({low:.3f} to {high:.3f})"
        for key in ("bleu", "rouge1", "rouge2", "rougeL")
        for value, low, high, _ in [found[f"vqaonline-mini {key}"]]
    ]


@pytest.fixture
def selection(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What benchmarks/selection_tables.py defines."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return runpy.run_path(str(ROOT / "benchmarks" / "selection_tables.py"))


def test_the_tables_of_selection_are_what_was_measured(selection: dict[str, Any]) -> None:
    """Every row, as benchmarks/selection.py prints it, in its order."""
    found = figures("selection")
    between = TEXT.partition(selection["BEGIN"])[2].partition(selection["END"])[0]
    expected = [*selection["markdown_kept"](found), *selection["markdown"](found)]
    assert [line for line in between.splitlines() if line] == [line for line in expected if line]
    assert len(expected) > 4


def test_the_noise_between_seeds_is_pooled_over_the_trained_conditions(
    selection: dict[str, Any],
) -> None:
    """A condition counts once, however many tables it is in, and not at all without a training."""

    def row(steps: list[int] | None, *values: float) -> dict[str, Any]:
        shares = [{"value": value} for value in values]
        return {"steps": steps, "accuracy": shares, "reasoning_to_error": shares}

    one, two = row([9, 9, 9], 0.4, 0.5, 0.6), row([9, 9, 9], 0.2, 0.2, 0.2)
    asked = row(None, 0.0, 0.5, 1.0)
    found = selection["between_seeds"](
        {"selection": {"one": one, "two": two}, "remedies": {"one": one, "asked": asked}}
    )
    assert (found["conditions"], found["degrees"]) == (2, 4)
    # Variances 0.01 and 0.
    assert found["accuracy"]["deviation"] == pytest.approx(0.005**0.5)
    quantile = 1.959964 + (1.959964**3 + 1.959964) / 16
    expected = quantile * 0.005**0.5 * (2 / 3) ** 0.5
    assert found["accuracy"]["noise"] == pytest.approx(expected, rel=1e-6)
