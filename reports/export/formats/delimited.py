"""Tables as CSV: one line for each figure, so that tables of different columns make one document
and value, interval and n have columns of their own.

Numbers are written with all their digits. A text that a spreadsheet would take for a formula gets
an apostrophe in front, as the spreadsheets themselves do it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence

from reports.export import contents
from reports.tables.table import Table

COLUMNS = (
    "table",
    "questions",
    "chance",
    "row",
    "size",
    "role",
    "origin",
    "run",
    "column",
    "heading",
    "unit",
    "value",
    "low",
    "high",
    "n",
    "printed",
    "notes",
    "also",
)
"""`value`, `low` and `high` are in `unit`; `printed` is what the page shows, `also` what stands
below it, such as how many questions have no answer."""

_FORMULA = re.compile(r"(^|[;|]\s*)(?=[=+\-@＝＋－＠])")  # noqa: RUF001  # spreadsheets take these too
"""At the start of a cell, and after what some spreadsheets take for a separator of cells."""
_NUMBER = re.compile(r"[+-]?[0-9][0-9.,]*( to [+-]?[0-9][0-9.,]*)?")


def write(tables: Sequence[Table]) -> str:
    """The figures of all `tables`, line by line, in the order of the page."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for table in tables:
        writer.writerows(_lines(table))
    return out.getvalue()


def _lines(table: Table) -> Iterator[list[str]]:
    for group, row in contents.rows(table):
        about = (group.title, group.chance, row.title, row.size, row.role, row.origin, row.run)
        for heading, cell in contents.cells(table, row):
            missing = contents.is_missing(cell)
            numbers = (cell.value, cell.low, cell.high, contents.samples(heading, cell))
            yield [
                guarded(table.id),
                *map(guarded, about),
                guarded(heading.key),
                guarded(heading.title),
                guarded(contents.unit(heading)),
                *("" if number is None else repr(number) for number in numbers),
                "" if missing else guarded(cell.text),
                guarded(" ".join(f"[{each.kind}] {each.reason}" for each in cell.findings)),
                guarded(cell.also),
            ]


def guarded(text: str) -> str:
    """`text` as a cell that no spreadsheet computes; a plain number stays one."""
    visible = contents.shown(text)
    return visible if _NUMBER.fullmatch(visible) else _FORMULA.sub(r"\1'", visible)
