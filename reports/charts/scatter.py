"""Training questions of a topic against the score in it, as in Figure 4 of the paper; the
template draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.charts import geometry
from reports.charts.geometry import Ticks
from reports.inputs.metrics import MetricFormat
from reports.numbers import counted, fixed


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic with what was trained and what came of it, as scores are printed."""

    name: str
    trained: int
    score: float
    low: float | None
    high: float | None
    n: int
    gain: float | None = None
    """The difference from the student before training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A topic in the drawing."""

    number: int
    name: str
    x: float
    y: float
    top: float | None
    bottom: float | None
    label: tuple[float, float]
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """Topics by what was trained and what came of it."""

    id: str
    score: str
    """The title of the scores."""
    unit: str
    dots: tuple[Dot, ...]
    across: Ticks
    upwards: Ticks
    caption: tuple[str, ...]


def scatter(topics: Sequence[Topic], metric: MetricFormat, *, name: str) -> Scatter | None:
    """Topics by training questions and score, most trained first; None of fewer than two."""
    if len(topics) < 2:
        return None
    order = sorted(topics, key=lambda topic: (-topic.trained, topic.name))
    x, across = geometry.across(max(1, order[0].trained))
    y, upwards = geometry.scores(
        metric.unit, [end for t in order for end in (t.score, t.low, t.high) if end is not None]
    )
    places = [(x(topic.trained), y(topic.score)) for topic in order]
    whiskers = [
        (None, None) if topic.low is None or topic.high is None else (y(topic.high), y(topic.low))
        for topic in order
    ]
    labels = geometry.labels(places, whiskers, lines=[], taken=[])
    return Scatter(
        id=name,
        score=metric.title,
        unit=metric.unit,
        dots=tuple(
            Dot(
                number=number,
                name=topic.name,
                x=place[0],
                y=place[1],
                top=top,
                bottom=bottom,
                label=label,
                words=f"{counted(topic.trained, 'training question')}, {metric.in_words} "
                f"{fixed(topic.score, metric.digits)}{metric.unit} (n {topic.n:,})",
            )
            for number, (topic, place, (top, bottom), label) in enumerate(
                zip(order, places, whiskers, labels, strict=True), start=1
            )
        ),
        across=across,
        upwards=upwards,
        caption=tuple(_correlations(order, metric)),
    )


def _correlations(topics: Sequence[Topic], metric: MetricFormat) -> list[str]:
    trained = [float(topic.trained) for topic in topics]
    said = []
    scores = [topic.score for topic in topics]
    measures: list[tuple[str, list[float]]] = [(metric.in_words, scores)]
    gains = [topic.gain for topic in topics if topic.gain is not None]
    if len(gains) == len(topics):
        change = "gain over" if metric.higher_is_better else "difference from"
        measures.append((f"{change} the student before training", gains))
    for what, values in measures:
        rho = spearman(trained, values)
        if rho is not None:
            said.append(f"{fixed(rho, 2, sign='+')} with {what}")
    if not said:
        return ["All topics have equally many training questions: no correlation is defined."]
    found = " and ".join(said)
    words = f"Spearman correlation of training questions: {found}, over {len(topics)} topics"
    return [f"{words} (few; correlation is not causation)."]


def spearman(one: Sequence[float], two: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties sharing their mean rank; None where a side is constant."""
    first, second = _ranks(one), _ranks(two)
    middle = (len(one) + 1) / 2
    across = math.fsum((a - middle) * (b - middle) for a, b in zip(first, second, strict=True))
    sizes = [math.fsum((rank - middle) ** 2 for rank in side) for side in (first, second)]
    return across / math.sqrt(sizes[0] * sizes[1]) if all(sizes) else None


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(values)
    return [order.index(v) + (order.count(v) + 1) / 2 for v in values]
