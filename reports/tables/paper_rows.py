"""The tables of the paper's rows: as printed, and what was measured minus what was reported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from harness.checkpoints.catalog import CATALOG, ModelSpec, find
from harness.core.types import Value
from harness.run.records import RunRecord
from reports.inputs import runs
from reports.inputs.paper import PaperColumn, PaperRow, PaperTable, minutes
from reports.numbers import fixed, interval
from reports.statistics.sanity import Figure, Finding
from reports.tables.heatmap import POINTS
from reports.tables.rows import run_row
from reports.tables.table import MISSING, Cell, Group, Heading, Row, Strip, Table, missing, table


def as_printed(paper: PaperTable) -> Table:
    """A table of the paper, row by row as printed, with the findings of the rules and the remarks.
    The overall accuracy comes first, as it does in the tables of measured runs."""
    columns = paper.overall_first
    headings = []
    for column in columns:
        time = column.metric == "inference_minutes"
        headings.append(
            Heading(
                key=column.metric,
                title=column.key,
                meaning=column.meaning,
                implied_unit="min" if time else paper.unit,
                n=column.n,
                also=", ours" if column.n else "",
                best="ascending" if time else "descending",
            )
        )
        if column.metric == paper.overall:
            headings.append(Heading(key="strip", title="On a scale from 0 to 100%", kind="strip"))
    chance = f"{paper.chance}{paper.unit}, as {paper.chance_source}" if paper.chance else ""
    return table(
        f"{paper.task}-reported",
        f"Table {paper.number} of the paper, as printed",
        headings,
        groups=[
            Group(
                title=paper.data,
                chance=chance,
                rows=(
                    *(_row(paper, row, columns) for row in paper.rows),
                    *(_absent(spec, headings) for spec in CATALOG if not paper.row(spec.name)),
                ),
            )
        ],
    )


def _absent(spec: ModelSpec, headings: Sequence[Heading]) -> Row:
    """A model of the other table."""
    return Row(
        title=spec.title,
        size=spec.size,
        role=spec.role,
        origin="not in this table of the paper",
        cells=tuple(
            missing("the paper has no such row", kind=heading.kind) for heading in headings
        ),
    )


def _row(paper: PaperTable, row: PaperRow, columns: Sequence[PaperColumn]) -> Row:
    figures, findings = paper.figures(row), paper.findings(row)
    cells = []
    for metric in (column.metric for column in columns):
        printed = row.cells[metric]
        about = tuple(finding for finding in findings if metric in finding.metrics)
        if metric == "inference_minutes":
            cells.append(Cell(text=printed, value=minutes(printed), findings=about))
            continue
        ends = (figures[metric].low, figures[metric].high)
        low, high = (end if end is None else end * paper.scale for end in ends)
        value = float(printed)
        cells.append(
            Cell(
                text=printed,
                value=value,
                interval=interval(low, high, 1),
                low=low,
                high=high,
                findings=about,
            )
        )
        if metric == paper.overall:
            chance = float(paper.chance) if paper.chance else None
            drawn = Strip(value=value, low=low, high=high, chance=chance)
            cells.append(Cell(text="", kind="strip", strip=drawn))
    spec = find(row.name)
    return Row(
        title=row.model,
        size=row.size,
        role=spec.role if spec else "",
        origin="reported in the paper",
        cells=tuple(cells),
    )


def differences(records: Sequence[RunRecord], paper: PaperTable) -> Table | None:
    """Each measured run minus the paper's row of the same model; None where there is no pair.
    Miniatures are not the paper's models, and their questions are not the paper's."""
    real = [run for run in records if not runs.label(run)]
    pairs = [(run, row) for run in real if (row := paper.row(str(run.model.name)))]
    if not pairs:
        return None
    columns = [c for c in paper.overall_first if c.metric != "inference_minutes"]
    unit = "pp" if paper.scale == 100 else ""
    headings = [
        Heading(key=column.metric, title=column.key, meaning=column.meaning, implied_unit=unit)
        for column in columns
    ]
    if paper.n is not None:
        headings.insert(1, Heading(key="words", title="Result", kind="text", best="ascending"))
    return table(
        f"{paper.task}-difference",
        "Measured here minus reported in the paper"
        + (", in percentage points" if paper.scale == 100 else ""),
        headings,
        groups=[
            Group(rows=tuple(_difference_row(*pair, paper, columns=columns) for pair in pairs))
        ],
    )


def _difference_row(
    run: RunRecord, row: PaperRow, paper: PaperTable, *, columns: Sequence[PaperColumn]
) -> Row:
    printed = paper.figures(row)
    cells = []
    for column in columns:
        found = runs.figure(run, column.metric)
        cell, words = _difference(found, printed[column.metric], paper.scale)
        if column.metric == paper.overall and paper.n is not None:
            if cell.value is not None and found.n != paper.n:
                reason = f"Different questions: {found.n:,} here, {paper.n:,} in the paper."
                cell = replace(cell, findings=(Finding("remark", (column.metric,), reason),))
            cells += [cell, Cell(text=words or MISSING, kind="text")]
        else:
            cells.append(cell)
    return run_row(run, cells)


def _difference(found: Value, printed: Figure, scale: int) -> tuple[Cell, str]:
    """The difference with its interval, and the result in words.

    For accuracies the interval is Newcombe's (1998, method 10), made of both Wilson intervals as
    for independent samples, since the paper gives no answers to pair with. Where the paper does
    not say its n, it is the interval of the measured figure alone.
    """
    if found.value is None or runs.caveats(found, ""):
        return missing(found.note), ""
    old, digits = float(printed.value), 2 if scale == 100 else 4
    difference = found.value - old
    cell = Cell(
        text=fixed(difference * scale, digits, sign="+"),
        value=difference * scale,
        n=found.n or None,
        tone=POINTS.tone(difference * 100) if scale == 100 else "",
    )
    if found.low is None or found.high is None:
        return cell, ""
    below, above = found.value - found.low, found.high - found.value
    if printed.n is not None:
        if printed.low is None or printed.high is None:
            return cell, ""  # it fits no count, and so it has no interval
        below, above = math.hypot(below, printed.high - old), math.hypot(above, old - printed.low)
    low, high = difference - below, difference + above
    ends = (fixed(end * scale, 1 if scale == 100 else 4, sign="+") for end in (low, high))
    words = "higher" if low > 0 else "lower" if high < 0 else "not significant"
    whole = replace(
        cell,
        interval=" to ".join(ends),
        low=low * scale,
        high=high * scale,
    )
    return whole, words
