"""More than a dozen runs of one task: a plot with groups, a heat map, and the table of pairs."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations

import pytest

from harness.core.types import Prediction
from harness.run.records import Counts, RunRecord
from reports.charts.geometry import between
from reports.charts.intervals import inseparable
from reports.inputs.material import Material, RunData
from reports.inputs.runs import run_id
from reports.page.leaderboard import render
from reports.page.sections import RunGroup, overview, sections
from reports.statistics.answers import read
from tests.test_leaderboard import Page, choice_run, share

N = 60


def league(models: int) -> list[RunData]:
    """Runs from bad to good on the same questions."""
    made = []
    for number in range(models):
        chance = random.Random(number)
        right = [chance.random() < (number + 1) / (models + 1) for _ in range(N)]
        record = choice_run(
            name=f"model-{number:02}",
            title=f"Model {number:02}",
            metrics={"accuracy": share(sum(right), N)},
        )
        answers = tuple(
            Prediction(
                sample_id=str(place),
                raw="A",
                answer=0 if good else 1,
                rule="letter",
                target=0,
                choices=("x", "y"),
                scores={"accuracy": float(good)},
            )
            for place, good in enumerate(right)
        )
        made.append(RunData(record, lambda answers=answers: answers))
    return made


def group_of(found: list[RunData]) -> RunGroup:
    records: list[RunRecord] = [each.record for each in found]
    answers = {each.run: each for run in found if (each := read(run))}
    (group,) = sections(records, answers)[0].run_groups
    return group


@pytest.fixture(scope="module")
def many() -> list[RunData]:
    return league(14)


def test_few_runs_have_a_matrix_with_all_figures() -> None:
    """Twelve at most; neither a plot nor a heat map."""
    group = group_of(league(3))
    assert group.matrix is not None
    assert (group.plot, group.heat) == (None, None)


def test_many_runs_have_a_plot_and_a_heat_map(many: list[RunData]) -> None:
    """A row for each run, best first, in both; the interval lies around its score."""
    group = group_of(many)
    assert group.matrix is None
    assert group.plot is not None
    assert group.heat is not None
    assert [row.name for row in group.plot.rows] == [
        row.title.partition(" ")[2] for row in group.heat.groups[0].rows
    ]
    for row in group.plot.rows:
        assert row.low is not None
        assert row.high is not None
        assert 0 <= row.low <= row.x <= row.high <= 400


def test_groups_are_what_tests_cannot_separate(many: list[RunData]) -> None:
    """Two runs share a letter just where no test separates them."""
    group = group_of(many)
    assert group.plot is not None
    assert group.tests is not None
    letters = {
        row.run: {
            letter for letter, belongs in zip(group.plot.groups, row.groups, strict=True) if belongs
        }
        for row in group.plot.rows
    }
    for one, two in combinations(map(run_id, group.runs), 2):
        pair = group.tests.pair(one, two)
        assert pair is not None
        assert bool(letters[one] & letters[two]) == (pair.better is None)


@pytest.mark.parametrize(
    ("separated", "groups"),
    [
        ([], ["abcd"]),
        ([("a", "d")], ["abc", "bcd"]),
        ([("a", "c"), ("a", "d"), ("b", "d")], ["ab", "bc", "cd"]),
        ([("a", "b"), ("a", "c"), ("a", "d")], ["bcd"]),
        ([("b", "c")], ["abd", "acd"]),
        (list(combinations("abcd", 2)), []),
    ],
)
def test_compact_letters(separated: list[tuple[str, str]], groups: list[str]) -> None:
    """The largest groups without a separated pair, whatever the order; one name is no group."""
    assert ["".join(sorted(group)) for group in inseparable("abcd", separated)] == groups


@pytest.mark.parametrize(
    ("low", "high", "ends"),
    [(12.0, 81.0, (0, 100)), (61.2, 63.9, (61, 64)), (-0.3, 0.2, (-0.3, 0.2)), (5.0, 5.0, None)],
)
def test_ticks_are_round_and_hold_all(
    low: float, high: float, ends: tuple[float, float] | None
) -> None:
    """The first is not above the least value, the last not below the largest."""
    ticks = between(low, high)
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= high - 1e-9
    assert len(ticks) >= 2
    if ends:
        assert (ticks[0], ticks[-1]) == pytest.approx(ends)


def test_a_cell_of_the_heat_map_names_both(many: list[RunData]) -> None:
    """Its sentence is the verdict of the table of pairs, in the half above the diagonal; the other
    half is its opposite; tinted where certain."""
    group = group_of(many)
    assert group.heat is not None
    assert group.pairs is not None
    verdicts = {row.title: row.cells[1].about for row in group.pairs.groups[0].rows}
    rows = group.heat.groups[0].rows
    for i, row in enumerate(rows):
        for j, cell in enumerate(row.cells):
            if i == j:
                assert cell.text == ""
                continue
            title, _, verdict = cell.about.removesuffix(".").partition(": ")
            assert j < i or verdicts[title] == verdict
            assert (cell.tone == "even") == ("not significant" in verdict)
            mirrored = rows[j].cells[i]
            assert cell.value == pytest.approx(-(mirrored.value or 0.0))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_best_may_lack_questions(order: tuple[int, ...]) -> None:
    """A run with nine tenths of the questions is first, and certain, in whichever order they are
    found: what it lacks is not wrong."""
    low, middle, high = (league(9)[place] for place in (0, 4, 8))
    few = tuple(high.predictions())[: N * 9 // 10]
    right = sum(p.answer == 0 for p in few)
    asked = Counts(total=len(few), available=len(few), done=len(few))
    metrics = {"accuracy": share(right, len(few))}
    lacking = RunData(
        replace(high.record, metrics=metrics, counts=asked, fingerprint={"data": "less"}),
        lambda: few,
    )
    found = [(low, middle, lacking)[place] for place in order]
    answers = {each.run: each for run in found if (each := read(run))}
    table = overview(sections([each.record for each in found], answers))
    assert table is not None
    rows = [(row.title, row.cells[0].best, row.cells[0].n) for row in table.groups[0].rows]
    assert rows == [("Model 08", True, 54), ("Model 04", False, 60), ("Model 00", False, 60)]


def test_the_table_of_every_pair_is_closed(many: list[RunData]) -> None:
    """It is there, with the row that each comparison leads to, in a part that is not open."""
    page = Page(render(Material(runs=many), samples="none"))
    names = [a.get("id") for tag, a in page.elements if tag == "table"]
    assert {"scienceqa-1-intervals", "scienceqa-1-heat", "scienceqa-1-pairs"} <= set(names)
    opened = [a.get("id") for tag, a in page.elements if tag == "details" and "open" in a]
    assert opened == ["standing-part"]
    rows = [a for tag, a in page.elements if tag == "tr" and (a.get("id") or "").startswith("comp")]
    assert len(rows) == 14 * 13 // 2
