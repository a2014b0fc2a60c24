"""The training loss step by step, as in Figure 3 of the paper; the template draws it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.charts import geometry
from reports.charts.geometry import Ticks
from reports.inputs import sanitize
from reports.numbers import counted, significant

MAX_POINTS = 480
"""Points of a line: more than the chart has room for. Of more steps, neighbours are averaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The losses of one training."""

    name: str
    """The student's."""
    role: str
    raw: str
    """The `d` of a path through each step, or the mean of neighbouring ones."""
    smooth: str
    """Through the running mean over a tenth of the steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The training loss over the steps."""

    id: str
    """Of the element of the page."""
    lines: tuple[Line, ...]
    across: Ticks
    """Optimizer steps."""
    upwards: Ticks
    """Nats per target token."""
    caption: tuple[str, ...]


def losses(rows: Sequence[Mapping[str, object]]) -> list[tuple[float, float]]:
    """(step, loss) of the rows of a training log that hold both, in the order of the steps."""
    found = ((sanitize.number(row.get("step")), sanitize.number(row.get("loss"))) for row in rows)
    return sorted((step, loss) for step, loss in found if step is not None and loss is not None)


def curve(
    trainings: Sequence[tuple[str, str, Sequence[tuple[float, float]]]],
    *,
    name: str,
    note: str = "",
) -> Curve | None:
    """The losses of (title, role, (step, loss) ...) trainings; None where there are none.

    Args:
        note: the last sentence of the caption where there are several.
    """
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
            f"{title}: {counted(len(steps), 'step')}, from {significant(values[0])} to "
            f"{significant(values[-1])} nats per token; the mean of the last tenth is "
            f"{significant(means[-1])}."
        )
    if note and len(shown) > 1:
        caption.append(note)
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
    """At most `MAX_POINTS` points: where there are more, means of equally many neighbours."""
    size = math.ceil(len(steps) / MAX_POINTS)
    parts = [steps[start : start + size] for start in range(0, len(steps), size)]
    return [
        (sum(step for step, _ in part) / len(part), sum(loss for _, loss in part) / len(part))
        for part in parts
    ]
