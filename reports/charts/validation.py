"""The evaluations of a student while it was trained, over the steps; the template draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.charts import geometry
from reports.charts.geometry import Place, Ticks
from reports.charts.loss import thinned
from reports.inputs import sanitize
from reports.numbers import counted, significant

LOSS = "Loss, nats per token"


@dataclass(frozen=True, slots=True)
class Line:
    """The figures of one training."""

    name: str
    path: str
    """The `d` of a path through the evaluations."""
    dashed: bool
    """Of the same student without its pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationCurve:
    """What decided which student was kept, over the steps."""

    id: str
    """Of the element of the page."""
    title: str
    """What the axis upwards shows."""
    lines: tuple[Line, ...]
    best: Place
    """The evaluation of the student that was kept."""
    across: Ticks
    upwards: Ticks
    caption: tuple[str, ...]


def validation_curve(
    rows: Sequence[Mapping[str, object]], *, name: str, best_by: str = "score"
) -> ValidationCurve | None:
    """The curve of the rows of a validation log; None where there are none.

    Args:
        best_by: score or loss, by which the student was chosen.
    """
    title = next((t for row in rows if (t := sanitize.text(row.get("title"), limit=60))), "")
    key = "score" if best_by == "score" and _figures(rows, "score") else "loss"
    is_percentage = key == "score" and any(row.get("unit") == "%" for row in rows)
    scale, unit = (100.0, "%") if is_percentage else (1.0, "")
    own = _figures(rows, key, scale=scale)
    if not own:
        return None
    blank = _figures(rows, key, scale=scale, within="without_pictures")
    x, across = geometry.across(max(step for step, _ in own))
    found = [value for _, value in (*own, *blank)]
    y, upwards = geometry.scores(unit, found)
    chosen = [step for row in rows if row.get("best") is True and (step := _step(row)) is not None]
    step, value = next(
        (each for each in own if chosen and each[0] == max(chosen)), max(own, key=lambda e: e[0])
    )
    lines = [("with the pictures", own, False), ("with grey pictures", blank, True)]
    return ValidationCurve(
        id=name,
        title=f"{title}{', %' if is_percentage else ''}" if key == "score" else LOSS,
        lines=tuple(
            Line(label, geometry.path([(x(s), y(v)) for s, v in thinned(each)]), dashed)
            for label, each, dashed in lines
            if each
        ),
        best=(x(step), y(value)),
        across=across,
        upwards=upwards,
        caption=(
            (
                f"{counted(len(own), 'evaluation')}; the dot is the student that was kept: step "
                f"{step:,.0f}, {significant(value)}{unit}."
            ),
        ),
    )


def _step(row: Mapping[str, object]) -> float | None:
    return sanitize.number(row.get("step"))


def _figures(
    rows: Sequence[Mapping[str, object]], key: str, *, scale: float = 1.0, within: str = ""
) -> list[tuple[float, float]]:
    """(step, figure) of the rows that hold both, in the order of the steps."""
    found = []
    for row in rows:
        holder = sanitize.mapping(row.get(within)) if within else row
        step, value = _step(row), sanitize.number(holder.get(key))
        if step is not None and value is not None:
            found.append((step, value * scale))
    return sorted(found)
