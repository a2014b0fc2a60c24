"""The paper's order of its models next to that of their minis, at the head of the page."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import permutations

import pytest
from scipy.stats import kendalltau

from harness.run.records import RunRecord
from reports.inputs.material import Material, RunData
from reports.inputs.paper import load
from reports.inputs.runs import run_id
from reports.page.leaderboard import render
from reports.page.sections import sections
from reports.statistics.kendall import differing_pairs, kendall_tau
from reports.tables.paper_order import paper_order
from tests.test_leaderboard import choice_run


def mini(name: str, right: int, *, is_mini: bool = True) -> RunRecord:
    """A run of scienceqa-mini with so many right answers more than the fewest."""
    run = choice_run(name=name, title=name, right=right)
    return replace(
        run,
        task=replace(run.task, name="scienceqa-mini", title="ScienceQA-mini", synthetic=True),
        model=replace(run.model, mini=is_mini),
    )


MINIS = [
    mini("llava-cot-mini", 20),
    mini("phi-3.5-mini", 15),
    mini("moondream-kd", 9),
    mini("moondream-kd-mini", 30),
    mini("moondream-kd-answer-only", 1),
    mini("vilt-mini", 0),
]


def order_of(found: list[RunRecord]):
    """That of the section of scienceqa-mini."""
    return next(each for each in sections(found, {}) if each.name == "scienceqa-mini").order


def test_both_orders_stand_side_by_side() -> None:
    """Best first, each with its figure. A student that was distilled here is taken for the paper's,
    not the shipped one; who is no row of the paper, as a control, is left out. The one pair that
    differs is named; without tests neither it nor any other is separable."""
    order = order_of(MINIS)
    assert order is not None
    assert order.title == "ScienceQA, accuracy"
    assert [(a.title, b.title) for a, b in order.places] == [
        ("Phi-3.5-vision-instruct", "llava-cot-mini"),
        ("LLaVA-CoT", "phi-3.5-mini"),
        ("Moondream-kd", "moondream-kd-mini"),
        ("ViLT", "vilt-mini"),
    ]
    assert order.places[0][0].figure == "81.71%"
    assert order.places[2][1].figure == f"{100 * 37 / 59:.2f}%"
    assert order.tau == (
        "Kendall's tau between the two orders: 0.67; 1 of 6 pairs differs, 5 of the others are not "
        "separable."
    )
    assert order.pairs == ("llava-cot-mini above phi-3.5-mini (not separable)",)


def test_pairs_that_tests_leave_open_are_counted() -> None:
    """Those in the paper's order too, ties among them: a tie makes tau no larger."""
    table = next(each for each in load().tables if each.task == "scienceqa")
    tied = [mini("llava-cot-mini", 9), mini("phi-3.5-mini", 20), mini("vilt-mini", 9)]
    ids = {str(run.model.name): run_id(run) for run in tied}

    def separable(first: str, second: str) -> bool:
        return ids["phi-3.5-mini"] in {first, second}

    order = paper_order(tied, table, separable=separable)
    assert order is not None
    assert order.pairs == ()
    assert order.tau == (
        "Kendall's tau between the two orders: 0.82; 0 of 3 pairs differ, 1 of the others is not "
        "separable."
    )
    certain = paper_order(tied, table, separable=lambda *_: True)
    assert certain is not None
    assert certain.tau.endswith("0 of 3 pairs differ.")


def test_without_minis_of_the_papers_rows_there_is_no_order() -> None:
    """Nor with two of them, nor where any run of the page is of a model that is none."""
    assert order_of(MINIS[:2]) is None
    assert order_of([*MINIS, mini("own", 3, is_mini=False)]) is None
    whole = render(Material(runs=[RunData(record=run) for run in MINIS]))
    assert "<dt>The paper's order</dt>" in whole
    mixed = render(Material(runs=[RunData(record=run) for run in [*MINIS, choice_run()]]))
    assert "s order</dt>" not in mixed


@pytest.mark.parametrize("values", [(3, 1, 2, 0), (1, 1, 2, 3), (0, 0, 0, 1)])
def test_tau_is_that_of_scipy(values: tuple[int, ...]) -> None:
    """With ties too; and as many pairs differ as the same order would agree in more."""
    names = "abcd"
    first = {name: Fraction(value) for name, value in zip(names, values, strict=True)}
    for other in permutations((0, 1, 1, 3)):
        second = {name: Fraction(value) for name, value in zip(names, other, strict=True)}
        known = kendalltau(values, other).statistic
        assert kendall_tau(first, second) == pytest.approx(known)
        for higher, lower in differing_pairs(first, second):
            assert first[higher] > first[lower]
            assert second[higher] < second[lower]
