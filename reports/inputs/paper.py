"""The paper's tables as printed, read from paper.toml.

This module alone knows that file. Cells stay strings; `figures` gives their exact values.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib import resources
from typing import Any

from harness.metrics.statistics import wilson
from reports.inputs.metrics import GUESSING, MetricFormat
from reports.statistics.sanity import Figure, Finding, check, whole_count


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperColumn:
    """One printed column."""

    key: str
    """The heading as printed."""
    meaning: str
    metric: str
    """The name of the same figure in a run record."""
    n: int | None = None
    """Questions behind each of its cells; None: not stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperRow:
    """One printed row."""

    name: str
    """The model's name in the catalogue."""
    model: str
    """As printed."""
    size: str
    cells: Mapping[str, str]
    """Metric name -> cell as printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """One printed table."""

    number: int
    task: str
    title: str
    caption: str
    data: str
    """The questions behind it, in words."""
    scale: int
    """What 1 is printed as: 100 for percentages."""
    unit: str
    decisive: str
    """The metric of its charts and sentences."""
    score: str
    """The title of that metric."""
    columns: tuple[PaperColumn, ...]
    measured: tuple[PaperColumn, ...]
    """The columns that measured runs have for their metrics."""
    rows: tuple[PaperRow, ...]
    remarks: Mapping[str, tuple[Finding, ...]]
    """Model as printed -> what no rule can find."""
    n: int | None = None
    chance: str | None = None
    """As printed by its source, in the table's unit."""
    chance_source: str = ""

    @property
    def topics(self) -> tuple[PaperColumn, ...]:
        """The columns that are by topic."""
        return tuple(column for column in self.columns if "/" in column.metric)

    @property
    def overall(self) -> str | None:
        """The metric that it has by topic, and over all of them; None: it has no topics."""
        return next((column.metric.partition("/")[0] for column in self.topics), None)

    @property
    def overall_first(self) -> list[PaperColumn]:
        """Its columns with that over all topics first, as the tables of measured runs have it."""
        return sorted(self.columns, key=lambda column: column.metric != self.overall)

    def format(self, metric: str) -> MetricFormat:
        """How a figure of it is printed."""
        titles = {column.metric: column.key for column in self.measured}
        title = self.score if metric == self.decisive else titles.get(metric, metric)
        return MetricFormat(name=metric, title=title, unit=self.unit)

    def row(self, name: str) -> PaperRow | None:
        """The row of the catalogue's model `name`."""
        return next((row for row in self.rows if row.name == name), None)

    def figures(self, row: PaperRow) -> dict[str, Figure]:
        """The figures of `row` by metric name; accuracies with the Wilson interval of the count
        that they stand for. Times are left out: they are of no use to a rule."""
        found = {
            column.metric: _figure(row.cells[column.metric], column, self.scale, self.unit)
            for column in self.columns
            if column.metric != "inference_minutes"
        }
        if self.chance is not None:
            column = PaperColumn(key=GUESSING, meaning="", metric=GUESSING)
            found[GUESSING] = _figure(self.chance, column, self.scale, self.unit)
        return found

    def findings(self, row: PaperRow) -> tuple[Finding, ...]:
        """What the rules, and then the remarks, say about `row`."""
        return (*check(self.figures(row)), *self.remarks.get(row.model, ()))


@cache
def _figure(printed: str, column: PaperColumn, scale: int, unit: str) -> Figure:
    digits = -int(Decimal(printed).as_tuple().exponent)
    figure = Figure(
        value=Fraction(printed) / scale,
        text=printed + unit,
        n=column.n,
        step=Fraction(1, scale * 10**digits),
        name=column.key,
    )
    count = whole_count(figure)
    if count is None or column.n is None:
        return figure
    low, high = wilson(count[0], column.n)
    return replace(figure, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """The paper whose tables these are."""

    title: str
    authors: str
    section: str
    """Where its evaluation stands."""
    tables: tuple[PaperTable, ...]

    def table(self, task: str) -> PaperTable | None:
        """The table of a task; None where the paper has none."""
        return next((table for table in self.tables if table.task == task), None)


def minutes(printed: str) -> float:
    """The number in "371 min" and in "279min"."""
    return float(re.sub(r"\s*min$", "", printed))


def load() -> Paper:
    """The paper's tables. The file is ours and tested: a fault in it is a bug, not bad input."""
    text = resources.files("reports.inputs").joinpath("paper.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    tables = tuple(_table(table) for table in data.pop("tables"))
    return Paper(**data, tables=tables)


def _table(data: dict[str, Any]) -> PaperTable:
    columns, measured = (
        tuple(PaperColumn(**column) for column in data.pop(key)) for key in ("columns", "measured")
    )
    metrics = {column.key: column.metric for column in columns}
    rows = tuple(
        PaperRow(**{**row, "cells": dict(zip(metrics.values(), row["cells"], strict=True))})
        for row in data.pop("rows")
    )
    remarks: dict[str, tuple[Finding, ...]] = {}
    for remark in data.pop("remarks"):
        about = tuple(metrics[key] for key in remark["columns"])
        finding = Finding(remark["kind"], about, remark["text"])
        remarks[remark["model"]] = (*remarks.get(remark["model"], ()), finding)
    return PaperTable(**data, columns=columns, measured=measured, rows=rows, remarks=remarks)
