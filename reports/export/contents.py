"""What of a table leaves the page: its figures and texts, its drawings not.

Every text passes `shown` on its way into any format, whoever filled the table: no control
character, no line break and no lone surrogate reaches a file. How a format escapes what it reads
as its own is that format's business.
"""

from __future__ import annotations

from collections.abc import Iterator

from reports.inputs import sanitize
from reports.tables.table import Cell, Group, Heading, Row, Table

MAX_TEXT = 1000
"""Characters of one text; a cell holds fewer, unless somebody means harm."""


def shown(text: str) -> str:
    """`text` in one line of visible characters."""
    return sanitize.text(text, limit=MAX_TEXT)


def headings(table: Table) -> list[Heading]:
    """The columns that hold figures or texts."""
    return [heading for heading in table.headings if heading.kind != "strip"]


def rows(table: Table) -> Iterator[tuple[Group, Row]]:
    """Every row with the group that it stands in, in the order of the page."""
    return ((group, row) for group in table.groups for row in group.rows)


def cells(table: Table, row: Row) -> list[tuple[Heading, Cell]]:
    """The cells of `row` below `headings(table)`."""
    pairs = zip(table.headings, row.cells, strict=True)
    return [(heading, cell) for heading, cell in pairs if heading.kind != "strip"]


def is_missing(cell: Cell) -> bool:
    """The page has a dash here, and a note that says why."""
    return cell.value is None and (
        cell.kind != "text" or any(finding.kind == "missing" for finding in cell.findings)
    )


def unit(heading: Heading) -> str:
    """The unit of a column's values; empty: none."""
    return shown(heading.unit or heading.implied_unit)


def samples(heading: Heading, cell: Cell) -> int | None:
    """The n of a figure, where it is known."""
    if is_missing(cell):
        return cell.n
    return heading.n if cell.n is None else cell.n
