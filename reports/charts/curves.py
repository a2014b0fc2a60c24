"""Two drawings of a distillation: the training loss step by step, as Figure 3 of the paper, and how
many rationales of a topic were trained on against the accuracy in it, as Figure 4.

They share the frame of `reports.charts.geometry`, and the template draws them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.charts import geometry
from reports.charts.geometry import Ticks
from reports.inputs import sanitize
from reports.tables.table import fixed, significant

MOST = 480
"""Points of a line: more than the drawing has room for. Of more steps, neighbours are averaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The losses of one training."""

    name: str
    role: str
    raw: str
    """The `d` of a path through each step, or the mean of neighbouring ones."""
    smooth: str
    """Through the running mean over a tenth of the steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The training loss over the steps."""

    id: str
    lines: tuple[Line, ...]
    across: Ticks
    upwards: Ticks
    caption: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic with what was trained and what came of it; shares in percent."""

    name: str
    trained: int
    accuracy: float
    low: float
    high: float
    n: int
    gain: float | None = None
    """Percentage points over the student before training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A topic in the drawing."""

    number: int
    name: str
    x: float
    y: float
    top: float
    bottom: float
    label: tuple[float, float]
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """Topics by what was trained and what came of it."""

    id: str
    dots: tuple[Dot, ...]
    across: Ticks
    upwards: Ticks
    caption: tuple[str, ...]


def losses(rows: Sequence[Mapping[str, object]]) -> list[tuple[float, float]]:
    """(step, loss) of the rows of a training log that hold both, in the order of the steps."""
    found = ((sanitize.number(row.get("step")), sanitize.number(row.get("loss"))) for row in rows)
    return sorted((step, loss) for step, loss in found if step is not None and loss is not None)


def curve(
    trainings: Sequence[tuple[str, str, Sequence[tuple[float, float]]]], *, name: str
) -> Curve | None:
    """The losses of (title, role, (step, loss) ...) trainings; None where there are none."""
    shown = [(title, role, steps) for title, role, steps in trainings if steps]
    if not shown:
        return None
    x, across = geometry.across(max(step for _, _, steps in shown for step, _ in steps))
    y, upwards = geometry.upwards(max(loss for _, _, steps in shown for _, loss in steps))
    lines, caption = [], []
    for title, role, steps in shown:
        values = [loss for _, loss in steps]
        means = smoothed(values)
        lines.append(
            Line(
                name=title,
                role=role,
                raw=geometry.path([(x(step), y(loss)) for step, loss in thinned(steps)]),
                smooth=geometry.path(
                    [
                        (x(step), y(mean))
                        for step, mean in thinned(
                            [(s, m) for (s, _), m in zip(steps, means, strict=True)]
                        )
                    ]
                ),
            )
        )
        caption.append(
            f"{title}: {len(steps):,} steps, from {significant(values[0])} to "
            f"{significant(values[-1])} nats per token; the mean of the last tenth is "
            f"{significant(means[-1])}."
        )
    if len(shown) > 1:
        caption.append(
            "The heights do not compare: the control learns a letter where the student learns a "
            "whole rationale."
        )
    return Curve(
        id=name, lines=tuple(lines), across=across, upwards=upwards, caption=tuple(caption)
    )


def smoothed(values: Sequence[float]) -> list[float]:
    """The mean of each value and of those before it, up to a tenth of all."""
    window = max(1, len(values) // 10)
    found, total = [], 0.0
    for end, value in enumerate(values):
        total += value - (values[end - window] if end >= window else 0.0)
        found.append(total / min(window, end + 1))
    return found


def thinned(steps: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `MOST` points: where there are more, means of equally many neighbours."""
    size = math.ceil(len(steps) / MOST)
    parts = [steps[start : start + size] for start in range(0, len(steps), size)]
    return [
        (sum(step for step, _ in part) / len(part), sum(loss for _, loss in part) / len(part))
        for part in parts
    ]


def scatter(topics: Sequence[Topic], *, name: str) -> Scatter | None:
    """Topics by training questions and accuracy, most trained first; None of fewer than two."""
    if len(topics) < 2:
        return None
    order = sorted(topics, key=lambda topic: (-topic.trained, topic.name))
    x, across = geometry.across(max(1, order[0].trained))
    y, upwards = geometry.upwards(100.0)
    places = [(x(topic.trained), y(topic.accuracy)) for topic in order]
    whiskers = [(y(topic.high), y(topic.low)) for topic in order]
    labels = geometry.labels(places, whiskers, lines=[], taken=[])
    return Scatter(
        id=name,
        dots=tuple(
            Dot(
                number=number,
                name=topic.name,
                x=place[0],
                y=place[1],
                top=top,
                bottom=bottom,
                label=label,
                words=f"{topic.trained:,} trained, {fixed(topic.accuracy, 2)}% of {topic.n:,}",
            )
            for number, (topic, place, (top, bottom), label) in enumerate(
                zip(order, places, whiskers, labels, strict=True), start=1
            )
        ),
        across=across,
        upwards=upwards,
        caption=tuple(_correlations(order)),
    )


def _correlations(topics: Sequence[Topic]) -> list[str]:
    trained = [float(topic.trained) for topic in topics]
    said = []
    measures: list[tuple[str, list[float]]] = [("accuracy", [topic.accuracy for topic in topics])]
    gains = [topic.gain for topic in topics if topic.gain is not None]
    if len(gains) == len(topics):
        measures.append(("gain over the student before training", gains))
    for what, values in measures:
        rho = spearman(trained, values)
        if rho is not None:
            said.append(f"{fixed(rho, 2, sign='+')} with {what}")
    if not said:
        return ["All topics were trained on equally often, so nothing can be said of more or less."]
    found = " and ".join(said)
    words = f"Rank correlation of training questions {found}, over {len(topics)} topics"
    return [f"{words}: few, and a correlation is no cause."]


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
