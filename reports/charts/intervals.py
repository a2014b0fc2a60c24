"""Many runs of one task in one picture: each score with its interval, best first, and the groups of
runs that paired tests cannot separate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.run.records import RunRecord
from reports.charts import geometry
from reports.inputs import runs
from reports.inputs.metrics import MetricFormat
from reports.numbers import interval
from reports.statistics.ranks import PairwiseTests, Rank

WIDTH = 400
"""Of the drawing of one interval, in its own units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalRow:
    """A run as it is drawn; places are in units of the drawing."""

    name: str
    role: str
    run: str
    """The id of its provenance."""
    rank: str
    score: str
    ends: str
    n: int
    x: float
    low: float | None
    high: float | None
    groups: tuple[bool, ...]
    """Whether it belongs to each group, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalPlot:
    """Scores with their intervals, and what tests cannot separate."""

    id: str
    title: str
    """The metric with its unit."""
    ticks: tuple[tuple[float, str], ...]
    rows: tuple[IntervalRow, ...]
    groups: tuple[str, ...]
    """Letters."""


def interval_plot(
    group: Sequence[RunRecord], tests: PairwiseTests, metric: MetricFormat, *, name: str
) -> IntervalPlot:
    """The runs that were tested, in their order.

    Args:
        group: best first.
        tests: of all of them.
        metric: their scores.
        name: the plot's id.
    """
    found = [(run, runs.figure(run, metric.name)) for run in group]
    ends = [
        end * metric.scale
        for _, value in found
        for end in (value.value, value.low, value.high)
        if end is not None
    ]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    ticks = geometry.between(low, high)
    first, last = ticks[0], ticks[-1]

    def place(value: float) -> float:
        return (value - first) / (last - first) * WIDTH

    ids = [runs.run_id(run) for run in group]
    separated = [(p.first, p.second) for p in tests.pairs if p.better is not None]
    together = inseparable(ids, separated)
    return IntervalPlot(
        id=name,
        title=f"{metric.title}, %" if metric.unit == "%" else metric.title,
        ticks=tuple((place(tick), f"{tick:.3g}") for tick in ticks),
        rows=tuple(
            IntervalRow(
                name=runs.title(run),
                role=runs.role(run),
                run=key,
                rank=_places(tests.ranks[key]),
                score=metric.number(value.value) if value.value is not None else "",
                ends=interval(
                    metric.printed(value.low), metric.printed(value.high), metric.interval_digits
                ),
                n=value.n,
                x=place((value.value or 0.0) * metric.scale),
                low=None if value.low is None else place(value.low * metric.scale),
                high=None if value.high is None else place(value.high * metric.scale),
                groups=tuple(key in members for members in together),
            )
            for key, (run, value) in zip(ids, found, strict=True)
        ),
        groups=tuple(_letters(len(together))),
    )


def inseparable(names: Sequence[str], separated: Iterable[tuple[str, str]]) -> list[frozenset[str]]:
    """The largest groups of names of which no two are separated, of two names or more: the compact
    letter display (Piepho 2004). Those with the first names come first."""
    found = {frozenset(names)}
    for one, two in separated:
        split = {group for group in found if one in group and two in group}
        parts = {group - {name} for group in split for name in (one, two)}
        kept = found - split
        kept |= {part for part in parts if not any(part < other for other in parts | kept)}
        found = kept
    place = {name: number for number, name in enumerate(names)}
    groups = [group for group in found if len(group) > 1]
    return sorted(groups, key=lambda group: sorted(place[name] for name in group))


def _places(rank: Rank) -> str:
    return str(rank.best) if rank.certain else f"{rank.best}\N{EN DASH}{rank.worst}"


def _letters(count: int) -> Iterable[str]:
    """Names of one letter, then of two: a to z, aa, ab and so on."""
    for number in range(count):
        more, last = divmod(number, 26)
        yield (chr(96 + more) if more else "") + chr(97 + last)
