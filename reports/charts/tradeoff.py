"""Score against cost, a chart with its Pareto frontier: places of points, labels and lines, and the
caption.

This module computes a chart as plain numbers; the template draws it. Points are numbered and named
in a list below, so that no name covers a point at the width of a phone; a number is put where it
covers no point, no whisker, no line and no other number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Literal

from harness.checkpoints.catalog import find
from harness.run.records import RunRecord
from reports.charts import geometry
from reports.charts.geometry import LEFT, RIGHT, WIDTH, Place
from reports.inputs import runs, sanitize
from reports.inputs.metrics import MetricFormat, decisive
from reports.inputs.paper import PaperTable, minutes
from reports.numbers import fixed, significant
from reports.statistics.ranks import PairwiseTests


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A cost that points are put along."""

    key: str
    title: str
    unit: str
    better: Literal["low", "high"]
    cheaper: str
    """What one has that costs no more, in words."""


AXES = {
    axis.key: axis
    for axis in (
        Axis(key="time", title="Time", unit="s per question, median", better="low", cheaper="time"),
        Axis(key="minutes", title="Time", unit="min in all", better="low", cheaper="time"),
        Axis(key="parameters", title="Parameters", unit="parameters", better="low", cheaper="size"),
        Axis(key="memory", title="Memory", unit="GiB at its peak", better="low", cheaper="memory"),
        Axis(
            key="speed", title="Tokens/s", unit="tokens per second", better="high", cheaper="speed"
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model as it goes into a chart."""

    name: str
    role: str
    score: float
    """As printed."""
    low: float | None
    high: float | None
    costs: dict[str, float]
    """Key of an axis -> value; what is not known is not there."""
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A model in the drawing."""

    number: int
    name: str
    role: str
    run: str
    x: float
    y: float
    top: float | None
    bottom: float | None
    """The ends of its whisker; None: no interval."""
    label: tuple[float, float]
    """The middle of its number."""
    leads: bool
    """On the frontier."""
    words: str
    """Its score and its cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing over one axis."""

    id: str
    """Of the element of the page."""
    axis: Axis
    """What the scores are drawn against."""
    title: str
    """Of the metric."""
    score: str
    """The title of the vertical axis."""
    points: tuple[Point, ...]
    across: tuple[tuple[float, str], ...]
    """Ticks of the axis below: place and text."""
    upwards: tuple[tuple[float, str], ...]
    frontier: str
    """The `d` of a path."""
    arrows: tuple[str, ...]
    """From a student to what was distilled from it, each as the `d` of a path."""
    chance: float | None
    """The height of its line."""
    chance_at: tuple[float, float]
    """Where it is named."""
    caption: tuple[str, ...]
    """What the chart shows, in sentences."""
    absent: tuple[str, ...]
    """Models whose cost is not known."""


def run_charts(
    records: Sequence[RunRecord], tests: PairwiseTests | None = None, *, name: str
) -> list[Chart]:
    """A chart for each cost that any of these runs knows; best runs are numbered first.

    Args:
        records: the runs, best first.
        tests: of them; where runs answered other questions, they decide which of two is better.
        name: the beginning of the ids.
    """
    metric = decisive(records)
    if metric is None:
        return []
    found = []
    for run in records:
        figure = runs.figure(run, metric.name)
        if figure.value is None:
            continue
        low, high = (
            end if end is None else end * metric.scale for end in (figure.low, figure.high)
        )
        found.append(
            Candidate(
                name=runs.title(run),
                role=runs.role(run),
                score=figure.value * metric.scale,
                low=low,
                high=high,
                costs=dict(_costs(run)),
                run=runs.run_id(run),
            )
        )
    chances = {runs.chance(run) for run in records}
    chance = chances.pop() if len(chances) == 1 and metric.is_share else None
    return charts(
        found,
        ("time", "parameters", "memory", "speed"),
        metric,
        name=name,
        chance=None if chance is None else chance * 100,
        label=runs.label(records[0]) if records else "",
        tests=None if tests is None or tests.is_same else tests,
    )


def paper_charts(paper: PaperTable, *, name: str) -> list[Chart]:
    """The paper's rows over their minutes and their sizes."""
    metric = paper.format(paper.decisive)
    found = []
    for row in paper.rows:
        figure = paper.figures(row)[metric.name]
        low, high = (
            None if end is None else end * paper.scale for end in (figure.low, figure.high)
        )
        size = parameters(row.size)
        costs = {"minutes": minutes(row.cells["inference_minutes"])}
        found.append(
            Candidate(
                name=row.model,
                role=spec.role if (spec := find(row.name)) else "",
                score=float(row.cells[metric.name]),
                low=low,
                high=high,
                costs=costs | ({"parameters": size} if size else {}),
            )
        )
    return charts(
        found,
        ("minutes", "parameters"),
        metric,
        name=name,
        chance=float(paper.chance) if paper.chance else None,
    )


def parameters(size: str) -> float | None:
    """The number in "11B" and "113M"; None where there is none."""
    units = {"K": 1e3, "M": 1e6, "B": 1e9}
    try:
        value = float(size[:-1]) * units[size[-1]]
    except (ValueError, KeyError, IndexError):
        return None
    return value if 0 < value < math.inf else None


def charts(
    candidates: Sequence[Candidate],
    keys: Iterable[str],
    metric: MetricFormat,
    *,
    name: str,
    chance: float | None = None,
    label: str = "",
    tests: PairwiseTests | None = None,
) -> list[Chart]:
    """One chart for each axis along which any candidate can be put.

    Args:
        candidates: in any order; the best get the first numbers.
        keys: of AXES, in the order of the charts.
        metric: what their scores are.
        name: the beginning of their ids.
        chance: what blind guessing gets, in the unit of the scores.
        label: of these scores, "mini (synthetic)".
        tests: of candidates whose scores are of other questions, which are then best first.
    """
    order = list(candidates)
    if tests is None:
        order.sort(key=lambda c: (-metric.sign * c.score, c.name))
    return [
        _chart(order, AXES[key], metric, name=name, chance=chance, label=label, tests=tests)
        for key in keys
        if any(c.costs.get(key, 0) > 0 for c in order)
    ]


Leads = Callable[[int, int], float]
"""(place of one, place of another) -> how much better the first one is."""


def frontier(
    points: Sequence[tuple[float, float]],
    better: Literal["low", "high"],
    leads: Leads | None = None,
) -> set[int]:
    """Places of the (cost, score) points that no other one beats: at least as good for no more,
    and better in one of the two. `leads` decides in place of the scores, where it is given; of
    points that all beat each other it leaves the first."""
    lead = leads or (lambda one, other: points[one][1] - points[other][1])
    sign = 1 if better == "low" else -1
    costs = [sign * cost for cost, _ in points]
    places = range(len(points))
    found = {place for place in places if not any(_beats(o, place, costs, lead) for o in places)}
    return found or set(places[:1])


def _beats(one: int, other: int, costs: Sequence[float], leads: Leads) -> bool:
    """Whether one is at least as good for no more, and better in one of the two."""
    lead = leads(one, other)
    is_no_worse = costs[one] <= costs[other] and lead >= 0
    return is_no_worse and (costs[one] < costs[other] or lead > 0)


def _costs(run: RunRecord) -> Iterable[tuple[str, float]]:
    found: dict[str, float | None] = {
        "time": runs.own_pace(run, "seconds_per_sample", "p50"),
        "parameters": sanitize.number(run.model.parameters) or parameters(runs.size(run)),
        "speed": runs.own_pace(run, "tokens_per_second"),
    }
    memory = (runs.timing(run, "peak_memory_bytes", key) for key in ("device", "process"))
    found["memory"] = next((value / 2**30 for value in memory if value), None)
    return ((key, value) for key, value in found.items() if value is not None and value > 0)


def _chart(
    order: Sequence[Candidate],
    axis: Axis,
    metric: MetricFormat,
    *,
    name: str,
    chance: float | None,
    label: str,
    tests: PairwiseTests | None,
) -> Chart:
    shown = [c for c in order if c.costs.get(axis.key, 0) > 0]
    x, across = geometry.logarithmic([c.costs[axis.key] for c in shown])
    ends = [end for c in shown for end in (c.score, c.low, c.high) if end is not None]
    y, upwards = geometry.scores(metric.unit, ends)
    leads = _leads(shown, metric, tests)
    leading = frontier(
        [(c.costs[axis.key], metric.sign * c.score) for c in shown], axis.better, leads
    )
    places = [(x(c.costs[axis.key]), y(c.score)) for c in shown]
    whiskers = [_whisker(c, y) for c in shown]
    steps = _steps([places[i] for i in sorted(leading)], axis.better)
    pairs = _pairs(shown)
    level = None if chance is None else y(chance)
    lines = [*pairwise(steps), *((places[i], places[j]) for i, j in pairs)]
    lower = "" if metric.higher_is_better else "lower is better"
    labels, named = _labels(places, whiskers, lines, level=level)
    return Chart(
        id=f"{name}-{axis.key}",
        axis=axis,
        title=metric.title,
        score=", ".join(filter(None, (metric.title, metric.unit, lower, label))),
        points=tuple(
            Point(
                number=number,
                name=c.name,
                role=c.role,
                run=c.run,
                x=place[0],
                y=place[1],
                top=top,
                bottom=bottom,
                label=label,
                leads=number - 1 in leading,
                words=_score_and_cost(c, axis, metric),
            )
            for number, (c, place, (top, bottom), label) in enumerate(
                zip(shown, places, whiskers, labels, strict=True), start=1
            )
        ),
        across=tuple(across),
        upwards=tuple(upwards),
        frontier=geometry.path(steps),
        arrows=tuple(geometry.arrow(places[i], places[j]) for i, j in pairs),
        chance=level,
        chance_at=named,
        caption=_caption(
            shown, axis, leading, pairs=pairs, metric=metric, leads=leads, tests=tests
        ),
        absent=tuple(c.name for c in order if c not in shown),
    )


def _whisker(c: Candidate, y: Callable[[float], float]) -> tuple[float | None, float | None]:
    """The ends of its interval; None: it has none."""
    return (None, None) if c.low is None or c.high is None else (y(c.high), y(c.low))


def _labels(
    places: Sequence[Place],
    whiskers: Sequence[tuple[float | None, float | None]],
    lines: Sequence[tuple[Place, Place]],
    *,
    level: float | None,
) -> tuple[list[Place], Place]:
    """Where the numbers of the points stand, and where the line of chance is named."""
    covered = [
        box for p, ends in zip(places, whiskers, strict=True) for box in geometry.spot(p, *ends)
    ]
    named = geometry.free_corner(level or 0.0, covered)
    if level is None:
        return geometry.labels(places, whiskers, lines=lines, taken=[]), named
    lines = [*lines, ((LEFT, level), (WIDTH - RIGHT, level))]
    taken = [(named[0], named[1] - 16, named[0] + 70, named[1] + 4)]
    return geometry.labels(places, whiskers, lines=lines, taken=taken), named


def amount(value: float, axis: Axis) -> str:
    """A cost as people write it."""
    if axis.key == "parameters":
        for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
            if value >= unit:
                return f"{significant(value / unit)}{letter} parameters"
    words = {"time": "s", "minutes": "min", "memory": "GiB", "speed": "tokens/s"}
    return f"{significant(value)} {words.get(axis.key, axis.unit)}"


def _pairs(shown: Sequence[Candidate]) -> list[tuple[int, int]]:
    """(student, distilled): where there is one student, each that was distilled is its child."""
    students = [place for place, c in enumerate(shown) if c.role == "student"]
    if len(students) != 1:
        return []
    return [(students[0], place) for place, c in enumerate(shown) if c.role == "distilled"]


def _steps(leading: Sequence[Place], better: Literal["low", "high"]) -> list[Place]:
    """The corners of the frontier, from the cheapest point to the frame: what is to be had for
    that much."""
    if not leading:
        return []
    order = sorted(leading, key=lambda place: (place[0], place[1]), reverse=better == "high")
    corners = [order[0]]
    for x, y in order[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    corners.append((WIDTH - RIGHT if better == "low" else LEFT, corners[-1][1]))
    return corners


def _caption(
    shown: Sequence[Candidate],
    axis: Axis,
    leading: set[int],
    *,
    pairs: Sequence[tuple[int, int]],
    metric: MetricFormat,
    leads: Leads,
    tests: PairwiseTests | None,
) -> tuple[str, ...]:
    first = [c.name for place, c in enumerate(shown) if place in leading]
    caption = [f"On the Pareto frontier (filled): {_and(first)}."]
    if dominated := _dominated(shown, axis, leading, leads):
        caption.append(f"Dominated (hollow): {_and(dominated)}.")
    counts = _shared(shown, tests) if tests else []
    if counts:
        few, many = min(counts), max(counts)
        number = f"{many:,}" if few == many else f"{few:,} to {many:,}"
        caption.append(
            f"Each score is of the run's own {metric.counts}s; which of two runs is better is "
            f"decided on those that both answered ({number})."
        )
    for i, j in pairs:
        student, distilled = shown[i], shown[j]
        before, after = (
            f"{c.name} ({_score_and_cost(c, axis, metric)})" for c in (student, distilled)
        )
        gain = fixed(distilled.score - student.score, metric.digits, sign="+")
        gain += " points" * (metric.unit == "%")
        if tests and (pair := tests.pair(student.run, distilled.run)):
            found = pair.verdict(metric, student.name, distilled.name, noun=metric.counts)
            gain = f"{found.size} on {found.questions}" if found.size else found.conclusion
        caption.append(f"Arrow: distillation takes {before} to {after}, {gain}.")
    return tuple(caption)


def _shared(shown: Sequence[Candidate], tests: PairwiseTests) -> list[int]:
    """How many questions each two of these share."""
    pairs = (tests.pair(one.run, other.run) for one, other in combinations(shown, 2))
    return [pair.n for pair in pairs if pair]


def _leads(shown: Sequence[Candidate], metric: MetricFormat, tests: PairwiseTests | None) -> Leads:
    """How much better one candidate is than another, on the questions that both answered."""

    def lead(one: int, other: int) -> float:
        pair = tests.pair(shown[other].run, shown[one].run) if tests else None
        if pair and pair.difference:
            return metric.sign * pair.difference.difference
        return metric.sign * (shown[one].score - shown[other].score)

    return lead


def _dominated(
    shown: Sequence[Candidate], axis: Axis, leading: set[int], leads: Leads
) -> list[str]:
    """Return "A by B" for each dominated model, B being the best of those that beat it."""
    sign = 1 if axis.better == "low" else -1
    costs = [sign * c.costs[axis.key] for c in shown]
    found = []
    for place, c in enumerate(shown):
        if place in leading:
            continue
        better = (o for other, o in enumerate(shown) if _beats(other, place, costs, leads))
        found.append(f"{c.name} by {next(better).name}")  # they are best first
    return found


def _score_and_cost(c: Candidate, axis: Axis, metric: MetricFormat) -> str:
    score = f"{fixed(c.score, metric.digits)}{metric.unit}"
    return f"{score}, {amount(c.costs[axis.key], axis)}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
