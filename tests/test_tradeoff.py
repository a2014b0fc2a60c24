"""The drawings: where points are, who is on the frontier, and that no number covers anything."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from reports.charts import geometry, tradeoff
from reports.charts.geometry import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from reports.charts.loss import curve, losses, smoothed, thinned
from reports.charts.scatter import Topic, scatter, spearman
from reports.charts.tradeoff import (
    Candidate,
    Chart,
    charts,
    frontier,
    paper_charts,
    parameters,
    run_charts,
)
from reports.inputs.metrics import MetricFormat
from reports.inputs.paper import load
from tests.test_leaderboard import choice_run, text_run

ACCURACY = MetricFormat(name="accuracy", title="Accuracy", unit="%", is_share=True)


def candidate(name: str, score: float, cost: float, *, role: str = "baseline") -> Candidate:
    return Candidate(
        name=name, role=role, score=score, low=score - 3, high=score + 3, costs={"time": cost}
    )


def one(*candidates: Candidate, key: str = "time", chance: float | None = None) -> Chart:
    (chart,) = charts(candidates, [key], ACCURACY, name="c", chance=chance)
    return chart


@pytest.mark.parametrize(
    ("points", "better", "leading"),
    [
        ([(1, 10), (2, 20), (3, 15)], "low", {0, 1}),
        ([(1, 10), (2, 20), (3, 15)], "high", {1, 2}),
        ([(1, 10), (1, 20)], "low", {1}),
        ([(1, 10), (2, 10)], "low", {0}),
        ([(1, 10), (1, 10)], "low", {0, 1}),
        ([(5, 1)], "low", {0}),
        ([], "low", set()),
    ],
)
def test_the_frontier(points: list[tuple[float, float]], better: str, leading: set[int]) -> None:
    """Those that no other one beats; ties in both are kept, ties in one are not."""
    assert frontier(points, better) == leading  # type: ignore[arg-type]


def test_of_a_metric_whose_least_is_best() -> None:
    """The least is numbered first and leads, and the axis says so; the scale is its own."""
    errors = MetricFormat(name="wer", title="Word errors", unit="", higher_is_better=False)
    found = [
        Candidate(name=name, role="", score=score, low=None, high=None, costs={"time": cost})
        for name, score, cost in (("slow", 1.5, 10.0), ("fast", 2.5, 1.0), ("bad", 4.0, 5.0))
    ]
    (chart,) = charts(found, ["time"], errors, name="c")
    assert [(p.number, p.name, p.leads) for p in chart.points] == [
        (1, "slow", True),
        (2, "fast", True),
        (3, "bad", False),
    ]
    assert (chart.title, chart.score) == ("Word errors", "Word errors, lower is better")
    assert [text for _, text in chart.upwards] == ["0", "1", "2", "3", "4"]
    assert chart.points[0].y > chart.points[2].y
    assert "Dominated (hollow): bad by fast." in chart.caption
    assert chart.points[0].words == "1.5000, 10.0 s"


def test_a_point_is_dominated_by_one_that_beats_it() -> None:
    """Not by one that has its score and its cost, though that stands before it."""
    chart = one(candidate("b", 50, 2), candidate("a", 50, 2), candidate("c", 50, 1))
    assert chart.caption[1] == "Dominated (hollow): a by c and b by c."


def test_scores_below_zero_have_a_scale() -> None:
    """From a round number below the least."""
    y, ticks = geometry.scores("", [-1.5, 2.0])
    assert float(ticks[0][1]) <= -1.5
    assert y(-1.5) > y(0.0) > y(2.0)


def test_the_frontier_of_the_paper() -> None:
    """Over time ViLT, LLaVA-NeXT and Phi-3.5; over size ViLT, Moondream-kd and Phi-3.5: Moondream-kd
    is beaten on time, and not on parameters."""
    table = load().table("scienceqa")
    assert table is not None
    time, size = paper_charts(table, name="p")
    assert [point.name for point in time.points if point.leads] == [
        "Phi-3.5-vision-instruct",
        "LLaVA-NeXT",
        "ViLT",
    ]
    assert [point.name for point in size.points if point.leads] == [
        "Phi-3.5-vision-instruct",
        "Moondream-kd",
        "ViLT",
    ]
    assert "Moondream-kd by Phi-3.5-vision-instruct" in " ".join(time.caption)
    assert len(time.arrows) == len(size.arrows) == 1


def test_points_lie_where_their_figures_are() -> None:
    """Upwards by the score, from left to right by the logarithm of the cost."""
    chart = one(candidate("a", 80, 1), candidate("b", 40, 10), candidate("c", 20, 100))
    a, b, c = chart.points
    assert b.x - a.x == pytest.approx(c.x - b.x)
    height = HEIGHT - TOP - BOTTOM
    assert a.y == pytest.approx(HEIGHT - BOTTOM - 0.8 * height)
    assert (b.bottom or 0) - (b.top or 0) == pytest.approx(0.06 * height)
    assert [text for _, text in chart.upwards] == ["0", "20", "40", "60", "80", "100"]
    assert {text: x for x, text in chart.across}["10"] == pytest.approx(b.x)


@pytest.mark.parametrize("better", ["time", "speed"])
def test_the_frontier_is_drawn_in_steps(better: str) -> None:
    """Level, then upright, and level to the frame on the side of more cost; never aslant."""
    found = [
        Candidate(name=str(n), role="", score=s, low=None, high=None, costs={better: c})
        for n, (s, c) in enumerate(
            [
                (80.0, 9.0 if better == "time" else 1.0),
                (40.0, 3.0),
                (20.0, 1.0 if better == "time" else 9.0),
            ]
        )
    ]
    chart = one(*found, key=better)
    corners = [tuple(map(float, part.split())) for part in chart.frontier[1:].split("L")]
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in itertools.pairwise(corners))
    assert corners[-1][0] == (WIDTH - RIGHT if better == "time" else LEFT)
    assert all(point.leads for point in chart.points)


def test_an_arrow_leads_from_the_student_to_what_was_distilled() -> None:
    """Where there is one student; two students would leave it open whose it is."""
    student, child = candidate("s", 40, 2, role="student"), candidate("d", 60, 9, role="distilled")
    chart = one(student, child, candidate("b", 50, 4))
    assert len(chart.arrows) == 1
    start = [float(n) for n in chart.arrows[0][1:].split("L")[0].split()]
    by_name = {point.name: point for point in chart.points}
    assert math.dist(start, (by_name["s"].x, by_name["s"].y)) == pytest.approx(
        geometry.DOT, abs=0.1
    )
    assert "+20.00 points" in " ".join(chart.caption)
    assert not one(student, child, candidate("t", 30, 1, role="student")).arrows


def boxes(chart: Chart) -> list[tuple[float, float, float, float]]:
    """What each number covers at the width of a phone, where it is largest."""
    return [(x - 13, y - 10, x + 13, y + 10) for x, y in (p.label for p in chart.points)]


def overlap(one: tuple[float, ...], two: tuple[float, ...]) -> bool:
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


@pytest.mark.parametrize("seed", range(25))
def test_numbers_cover_no_number_and_no_point(seed: int) -> None:
    """Seven models anywhere, some of them close together, each with a whisker."""
    chance = random.Random(seed)
    chart = one(
        *(
            candidate(str(n), chance.uniform(10, 90), 10 ** chance.uniform(-1, 1.5), role=role)
            for n, role in enumerate(["student", "distilled", *["baseline"] * 5])
        ),
        chance=40.0,
    )
    found = boxes(chart)
    assert not any(overlap(a, b) for a, b in itertools.combinations(found, 2))
    for box in found:
        assert not any(overlap(box, (p.x - 6, p.y - 6, p.x + 6, p.y + 6)) for p in chart.points), (
            chart.points
        )
        assert box[0] >= LEFT - 1
        assert box[2] <= WIDTH
        assert box[1] >= 0
        assert box[3] <= HEIGHT - BOTTOM + 1


def test_numbers_are_by_score_and_the_list_says_the_same() -> None:
    """The best is 1; each is named with its score, its cost and its role."""
    chart = one(candidate("low", 20, 3), candidate("high", 70, 0.5))
    assert [(p.number, p.name, p.words) for p in chart.points] == [
        (1, "high", "70.00%, 0.500 s"),
        (2, "low", "20.00%, 3.00 s"),
    ]


def test_what_is_not_known_is_not_drawn() -> None:
    """A model without that cost is named below, an axis that nobody knows has no chart."""
    known, unknown = (
        candidate("a", 50, 1),
        Candidate(name="b", role="", score=60, low=None, high=None, costs={"memory": 2.0}),
    )
    found = charts([known, unknown], ["time", "memory", "speed"], ACCURACY, name="c")
    assert [chart.axis.key for chart in found] == ["time", "memory"]
    assert found[0].absent == ("b",)
    assert [p.name for p in found[1].points] == ["b"]
    assert found[1].points[0].top is None


def test_measured_runs_have_the_axes_that_they_know() -> None:
    """Time, size, memory and speed of a timed run; nothing of one that was only scored."""
    record = choice_run()
    found = run_charts([record], name="m")
    assert [chart.axis.key for chart in found] == ["time", "parameters", "memory", "speed"]
    assert found[0].points[0].words == "47.46%, 1.40 s"
    assert found[1].points[0].words == "47.46%, 2.00B parameters"
    assert [chart.axis.key for chart in run_charts([text_run()], name="m")] == []


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "2", None])
def test_a_cost_that_is_none_is_not_drawn(value: object) -> None:
    """A logarithm needs a positive number."""
    record = choice_run(timing={"seconds_per_sample": {"p50": value}, "tokens_per_second": value})
    assert [chart.axis.key for chart in run_charts([record], name="m")] == ["parameters"]


@pytest.mark.parametrize(
    ("size", "value"),
    [
        ("11B", 11e9),
        ("113M", 113e6),
        ("1.9B", 1.9e9),
        ("", None),
        ("big", None),
        ("nanB", None),
        ("infB", None),
        ("-2B", None),
    ],
)
def test_sizes_are_read(size: str, value: float | None) -> None:
    """As people write them; anything else is not known."""
    assert parameters(size) == value


# Curves


def test_losses_are_those_of_the_log() -> None:
    """In the order of the steps; rows that hold none are passed over."""
    rows = [
        {"step": 2, "loss": 1.0},
        {"step": 1, "loss": 2.0},
        {"step": 3, "loss": None},
        {"loss": 1},
    ]
    assert losses([*rows, {"step": 4, "loss": float("nan")}]) == [(1.0, 2.0), (2.0, 1.0)]


def test_a_curve_goes_through_its_steps() -> None:
    """The thin line has a corner for each; the caption has first, last and the mean of the end."""
    steps = [(float(n), 3.0 - n / 10) for n in range(1, 21)]
    found = curve([("kd", "distilled", steps)], name="x")
    assert found is not None
    corners = [tuple(map(float, part.split())) for part in found.lines[0].raw[1:].split("L")]
    assert len(corners) == 20
    assert corners[0][1] < corners[-1][1]  # downwards
    assert (
        "kd: 20 steps, from 2.90 to 1.00 nats per token; the mean of the last tenth is 1.05."
        in (found.caption)
    )
    assert curve([("kd", "distilled", [])], name="x") is None


def test_running_means() -> None:
    """Of a tenth of the steps, less at the beginning."""
    assert smoothed([1.0, 3.0]) == [1.0, 3.0]
    values = [float(n % 7) for n in range(60)]
    assert smoothed(values)[-1] == pytest.approx(sum(values[-6:]) / 6)


def test_long_trainings_are_thinned() -> None:
    """A page does not grow with the steps, and the means stay."""
    steps = [(float(n), float(n)) for n in range(100_000)]
    found = thinned(steps)
    assert len(found) <= 480
    assert sum(y for _, y in found) / len(found) == pytest.approx(49_999.5, rel=0.01)


@pytest.mark.parametrize(
    ("one", "two", "rho"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 1, 2], [5, 6, 7], math.sqrt(3) / 2),  # ties share their mean rank
        ([1, 1], [5, 6], None),
    ],
)
def test_spearman(one: list[float], two: list[float], rho: float | None) -> None:
    """By hand; where one side is constant there is none."""
    found = spearman(one, two)
    assert found == (None if rho is None else pytest.approx(rho))


def test_topics_against_what_was_trained() -> None:
    """Most trained first, at its place; one topic alone is no relation."""
    topics = [
        Topic(name=name, trained=n, score=a, low=a - 5, high=a + 5, n=50)
        for name, n, a in (("few", 10, 30.0), ("many", 100, 60.0))
    ]
    found = scatter(topics, ACCURACY, name="t")
    assert found is not None
    assert [(dot.number, dot.name) for dot in found.dots] == [(1, "many"), (2, "few")]
    assert found.dots[0].x > found.dots[1].x
    assert found.dots[0].y < found.dots[1].y
    assert "+1.00 with accuracy" in found.caption[0]
    assert scatter(topics[:1], ACCURACY, name="t") is None


def test_paths_hold_numbers_only() -> None:
    """Whatever was drawn, a path is letters that draw and finite numbers."""
    table = load().table("vqaonline")
    assert table is not None
    for chart in tradeoff.paper_charts(table, name="p"):
        for path in (chart.frontier, *chart.arrows):
            assert not set(path) - set("ML0123456789. -")
