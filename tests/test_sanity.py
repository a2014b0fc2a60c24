"""The rules that say which figures cannot be right."""

from __future__ import annotations

from fractions import Fraction

import pytest

from reports.statistics.sanity import Figure, check, whole_count


def figure(printed: str, *, n: int | None = None, percent: bool = False) -> Figure:
    """A figure as printed: "62.50" of 600 is 375 right answers."""
    digits = len(printed.partition(".")[2])
    scale = 100 if percent else 1
    return Figure(
        value=Fraction(printed) / scale,
        text=printed + "%" * percent,
        n=n,
        step=Fraction(1, scale * 10**digits),
        name="a column",
    )


def exact(value: float, *, n: int | None = None, low: float | None = None) -> Figure:
    """A figure as a run has it."""
    return Figure(value=Fraction(value), text=f"{value:.4f}", n=n, low=low, high=None)


def said(row: dict[str, Figure]) -> list[tuple[str, tuple[str, ...]]]:
    return [(finding.kind, finding.metrics) for finding in check(row)]


@pytest.mark.parametrize(
    ("printed", "n", "expected"),
    [
        ("62.50", 600, (375, "rounded")),
        ("84.61", 156, (132, "cut")),  # 84.615...
        ("78.82", 2017, (1590, "cut")),  # 78.830 would be printed 78.83
        ("81.71", 2017, (1648, "rounded")),
        ("0.00", 94, (0, "rounded")),
        ("100.00", 94, (94, "rounded")),
        ("42.35", 94, None),
        ("42.35", 85, (36, "rounded")),
        ("35.91", 2017, None),
        ("35.91", 2008, (721, "rounded")),
    ],
)
def test_a_printed_share_stands_for_a_count(
    printed: str, n: int, expected: tuple[int, str] | None
) -> None:
    """The count is found under rounding, and under cutting only where rounding fails."""
    assert whole_count(figure(printed, n=n, percent=True)) == expected


@pytest.mark.parametrize(("k", "n"), [(0, 7), (1, 3), (932, 2017), (63_745, 63_746)])
def test_a_measured_share_stands_for_its_count_exactly(k: int, n: int) -> None:
    """A float k/n is recognised as k of n, and as nothing where n is another."""
    assert whole_count(exact(k / n, n=n)) == (k, "exact")
    assert k == 0 or whole_count(exact(k / n, n=n + 1)) is None


def test_a_printed_share_that_fits_no_count_is_told_with_its_neighbours() -> None:
    """The reason names the two counts between which the figure lies. Its n is not printed, and of
    another one there are such shares: so it is not called impossible."""
    (finding,) = check({"accuracy/chemistry": figure("42.35", n=94, percent=True)})
    assert finding.kind == "misfit"
    assert finding.reason.startswith("42.35% does not fit n = 94: ")
    assert "39 would be 41.49%" in finding.reason
    assert "40 would be 42.55%" in finding.reason


@pytest.mark.parametrize(
    ("f1", "precision", "recall", "expected"),
    [
        ("0.8840", "0.8446", "0.8242", ["impossible"]),
        ("0.8340", "0.8446", "0.8242", []),
        ("0.8344", "0.8446", "0.8242", []),  # the harmonic mean is .83427: within the last digit
        ("0.8345", "0.8446", "0.8242", ["impossible"]),
        ("0.5833", "0.5963", "0.5711", []),
        ("0.1000", "-0.2000", "0.3000", []),  # rescaled scores are not judged
    ],
)
def test_a_mean_f1_is_at_most_the_harmonic_mean_of_the_means(
    f1: str, precision: str, recall: str, expected: list[str]
) -> None:
    """Beyond the printed digits' tolerance, an F1 above 2PR/(P+R) cannot be."""
    row = {
        "bertscore_f1": figure(f1),
        "bertscore_precision": figure(precision),
        "bertscore_recall": figure(recall),
    }
    assert [finding.kind for finding in check(row)] == expected


def test_a_measured_f1_has_no_tolerance() -> None:
    """Unshortened means are held to float error: 1e-6 too much is found."""
    row = {
        "bertscore_f1": exact(0.5 + 1e-6),
        "bertscore_precision": exact(0.5),
        "bertscore_recall": exact(0.5),
    }
    assert said(row) == [("impossible", ("bertscore_f1",))]
    assert said({**row, "bertscore_f1": exact(0.5)}) == []


@pytest.mark.parametrize(
    ("one", "two", "doubted"),
    [
        ("0.2163", "0.0314", False),
        ("0.0020", "0.0020", True),
        ("0.0010", "0.0020", True),
        ("0.0000", "0.0000", False),
        ("1.0000", "1.0000", False),
    ],
)
def test_rouge2_is_below_rouge1(one: str, two: str, doubted: bool) -> None:
    """Equal is believed only at 0, and at 1 where every answer repeats its reference."""
    row = {"rouge1": figure(one), "rouge2": figure(two)}
    assert said(row) == ([("doubtful", ("rouge1", "rouge2"))] if doubted else [])


def test_a_measured_share_that_fits_no_count_cannot_be() -> None:
    """A record states its own n."""
    (finding,) = check({"accuracy": exact(0.301, n=59)})
    assert finding.kind == "impossible"


def test_a_cut_figure_is_told_with_the_digits_that_show_it() -> None:
    """1,590 of 2,017 is 78.8299%: with three decimals it would look like 78.83."""
    (finding,) = check({"accuracy": figure("78.82", n=2017, percent=True)})
    assert "1,590 of 2,017 is 78.8299%, printed 78.82%." in finding.reason


@pytest.mark.parametrize(
    ("n", "high", "kind", "words"),
    [
        (100, 0.30, "doubtful", "so is its whole 95% interval"),
        (100, 0.45, "remark", "chance is within its 95% interval"),
        (100, None, "doubtful", "so is its whole 95% interval"),  # Wilson's, 0.343
        (20, None, "remark", "chance is within its 95% interval"),  # Wilson's, 0.469
        (None, None, "remark", "for random guessing."),
    ],
)
def test_below_chance_is_doubted_where_the_whole_interval_is(
    n: int | None, high: float | None, kind: str, words: str
) -> None:
    """The reason says how sure it is; where chance is within the interval it is worth knowing."""
    accuracy = Figure(value=Fraction(1, 4), text="25.00%", n=n, high=high)
    (finding,) = check({"accuracy": accuracy, "chance": exact(0.4)})
    assert (finding.kind, words in finding.reason) == (kind, True)


def test_at_chance_nothing_is_said() -> None:
    """An accuracy that equals chance is not below it."""
    assert said({"accuracy": exact(0.25, n=100), "chance": exact(0.25)}) == []


def test_an_accuracy_over_a_part_of_the_split_says_so() -> None:
    """Both its n and the size of the split are named."""
    (finding,) = check({"accuracy": exact(0.5, n=500), "split": exact(2017)})
    assert finding.reason == "Over 500 of the 2,017 questions of its split."


@pytest.mark.parametrize("value", [-0.01, 1.01])
def test_a_share_outside_0_to_1_cannot_be(value: float) -> None:
    """It is told once, and by no other rule."""
    assert said({"accuracy": exact(value, n=100)}) == [("impossible", ("accuracy",))]


def test_a_share_outside_its_interval_cannot_be() -> None:
    """An interval that leaves its own figure out is a fault."""
    assert said({"accuracy": exact(0.5, n=100, low=0.6)}) == [("impossible", ("accuracy",))]


def test_an_empty_row_is_not_judged() -> None:
    """No rule needs a figure to be there."""
    assert check({}) == ()
