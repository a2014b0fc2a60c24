"""Paired comparisons of the runs on one set of questions: a matrix, and a table of all pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from harness.run.records import RunRecord
from harness.run.verdicts import probability
from reports.inputs import runs
from reports.inputs.metrics import MetricFormat
from reports.numbers import fixed
from reports.statistics.ranks import Pair, PairwiseTests
from reports.tables.heatmap import Changes, changes_of
from reports.tables.table import Cell, Group, Heading, Row, Table, Tone, missing, table

MAX_MATRIX = 12
"""Runs of a matrix with all its figures; of more, it is a heat map, with a plot of the scores."""
MAX_HEAT = 60
"""Runs of a heat map; of more, its 3,600 cells would tell nobody anything."""


def matrix(
    group: Sequence[RunRecord], found: PairwiseTests, metric: MetricFormat, *, name: str
) -> Table | None:
    """Each run (row) minus each other (column); None where that would be too wide.

    Args:
        group: the runs that were tested, best first.
        found: their paired tests.
        metric: what they are compared by.
        name: becomes the table's id.
    """
    if len(group) > MAX_MATRIX:
        return None
    rows = []
    for run in group:
        cells = []
        for other in group:
            pair = found.pair(runs.run_id(other), runs.run_id(run))
            cells.append(_cell(pair, metric) if pair else Cell(text="", kind="text"))
        rows.append(_row(run, cells))
    unit = "percentage points" if metric.unit == "%" else metric.title
    minus = f"Row minus column, in {unit}"
    return table(
        name,
        f"{minus}, with the {metric.counts}s that only one of the two gets right"
        if found.test == "mcnemar"
        else f"{minus}, each with its 95% interval",
        [
            Heading(
                key=runs.run_id(other),
                title=runs.title(other),
                implied_unit=unit,
                best=metric.best,
            )
            for other in group
        ],
        groups=[Group(rows=tuple(rows))],
    )


def heat_map(
    group: Sequence[RunRecord], found: PairwiseTests, metric: MetricFormat, *, name: str
) -> Table | None:
    """The matrix of many runs: a rounded difference in each cell, and the verdict in a sentence;
    columns are numbered as rows are. None of few runs, and of too many."""
    if not MAX_MATRIX < len(group) <= MAX_HEAT:
        return None
    known = {runs.run_id(run): runs.title(run) for run in group}
    tints = changes_of(
        metric,
        (p.difference.difference * metric.scale for p in found.pairs if p.difference),
    )
    rows = []
    for number, run in enumerate(group, start=1):
        own = runs.run_id(run)
        cells = [_heat(found.pair(other, own), known, metric, tints=tints) for other in known]
        rows.append(replace(_row(run, cells), title=f"{number} {known[own]}"))
    unit = "percentage points" if metric.unit == "%" else metric.title
    return table(
        name,
        f"Row minus column, in {unit}; tinted where certain",
        [
            Heading(key=key, title=str(number), meaning=title, implied_unit=unit, best=metric.best)
            for number, (key, title) in enumerate(known.items(), start=1)
        ],
        groups=[Group(rows=tuple(rows))],
    )


def _heat(
    pair: Pair | None, titles: Mapping[str, str], metric: MetricFormat, *, tints: Changes
) -> Cell:
    """The second of `pair`, which is the row, minus the first."""
    if pair is None:
        return Cell(text="", kind="text")
    said = pair.verdict(metric, titles[pair.first], titles[pair.second], noun=metric.counts)
    about = f"{titles[pair.second]} vs. {titles[pair.first]}: {said.text}."
    if pair.difference is None:
        return replace(missing("no question in common"), about=about)
    size = pair.difference.difference * metric.scale
    return Cell(
        text=fixed(size, 0 if metric.unit == "%" else 2, sign="+"),
        value=size,
        tone=tints.tone(size) if pair.certain else "even",
        about=about,
    )


def every_pair(
    group: Sequence[RunRecord], found: PairwiseTests, metric: MetricFormat, *, name: str
) -> Table:
    """A row for each two runs, the better placed one minus the other, with the result."""
    counted = found.test == "mcnemar"
    headings = [
        Heading(
            key="difference",
            title="Difference",
            meaning="the first minus the second, with its 95% interval, uncorrected",
            unit=metric.difference_unit,
            best=metric.best,
        ),
        Heading(key="words", title="Result", kind="text", best="ascending"),
    ]
    if counted:
        headings += [
            Heading(key="first", title="Only the first", meaning="right where the second is not"),
            Heading(key="second", title="Only the second", meaning="right where the first is not"),
            Heading(key="both", title="Both right"),
            Heading(key="neither", title="Neither"),
        ]
    test = "exact McNemar" if counted else "paired bootstrap"
    headings += [
        Heading(key="p", title="p", meaning=f"{test}, uncorrected", best="ascending"),
        Heading(key="holm", title="p, Holm", meaning="corrected for all pairs", best="ascending"),
    ]
    return table(
        name,
        "All pairs, on the questions that both answered",
        headings,
        groups=[
            Group(
                rows=tuple(
                    _pair_row(one, two, found, metric) for one, two in combinations(group, 2)
                )
            )
        ],
        row_title="First vs. second",
    )


def _row(run: RunRecord, cells: Sequence[Cell]) -> Row:
    return Row(
        title=runs.title(run),
        size=runs.size(run),
        role=runs.role(run),
        origin=runs.label(run),
        cells=tuple(cells),
    )


def _cell(pair: Pair, metric: MetricFormat) -> Cell:
    """The second of `pair`, which is the row, minus the first."""
    if pair.difference is None:
        return missing("the two runs have no question in common that both answered")
    link = runs.compare_link(pair.first, pair.second)
    d, counted = pair.difference, pair.only_first is not None
    tone: Tone = "even"
    if pair.better is not None:
        tone = "gain2" if pair.better == pair.second else "loss2"
    return Cell(
        text=metric.difference(d.difference),
        value=d.difference * metric.scale,
        interval="" if counted else metric.ends(d.low, d.high),
        also=f"{pair.only_second:,} : {pair.only_first:,}" if counted else "",
        link=link if counted else "",
        tone=tone,
    )


def _pair_row(one: RunRecord, two: RunRecord, found: PairwiseTests, metric: MetricFormat) -> Row:
    names, counted = (runs.run_id(two), runs.run_id(one)), found.test == "mcnemar"
    pair = found.pair(*names)
    assert pair is not None  # every pair of the group was tested
    if pair.difference is None:
        reason = "the two runs have no question in common that both answered"
        cells = [missing(reason), Cell(text="no question in common", kind="text")]
        cells += [missing(reason)] * (6 if counted else 2)
    else:
        d, noun = pair.difference, metric.counts
        said = pair.verdict(metric, runs.title(two), runs.title(one), noun=noun)
        cells = [
            Cell(
                text=metric.difference(d.difference),
                value=d.difference * metric.scale,
                interval=metric.ends(d.low, d.high),
                n=pair.n,
                tone="gain2" if pair.better else "even",
            ),
            Cell(text=said.conclusion, about=said.text, kind="text"),
        ]
        if counted:
            counts = (pair.only_second, pair.only_first, pair.both, pair.neither)
            cells += [Cell(text=f"{count:,}", value=count) for count in counts]
        for p in (d.p, pair.p):
            cells.append(missing("not tested") if p is None else Cell(text=probability(p), value=p))
    return Row(
        title=f"{runs.title(one)} vs. {runs.title(two)}",
        id=runs.compare_id(*names),
        origin=runs.label(one),
        cells=tuple(cells),
    )
