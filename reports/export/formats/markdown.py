"""Tables as Markdown: pipe tables as GitHub and most others read them, with the notes below.

Whatever comes from a record is escaped, so that it can make no cell, no link, no HTML, no picture
and no emphasis.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from reports.export import contents
from reports.tables.table import KINDS, MISSING, Cell, Heading, Row, Table

_SPECIAL = re.compile(r"[\\`*_\[\]<>|&~$#@]|!(?=\[)|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""What means something within a line, the bare addresses that GitHub turns into links included."""


def write(tables: Sequence[Table]) -> str:
    """The tables one below another, each under its caption."""
    return "\n".join("\n".join(_lines(table)) for table in tables)


def escaped(text: str) -> str:
    """`text` as itself, within a line."""
    return _SPECIAL.sub(r"\\\g<0>", contents.shown(text))


def _lines(table: Table) -> Iterator[str]:
    yield f"### {escaped(table.caption)}"
    yield ""
    columns = contents.headings(table)
    described = _described(table)
    for group in table.groups:
        if contents.shown(group.title):
            chance = f" · chance {escaped(group.chance)}" if contents.shown(group.chance) else ""
            yield f"**{escaped(group.title)}**{chance}"
            yield ""
        yield _line([escaped(table.row_title), *described, *map(_heading, columns)])
        numbers = [heading.kind == "number" for heading in columns]
        yield _line(
            ["---", *("---" for _ in described), *("---:" if n else "---" for n in numbers)]
        )
        for row in group.rows:
            yield _row(table, row, described)
        yield ""
    for number, note in enumerate(table.notes, start=1):
        word = KINDS[note.finding.kind].word
        yield f"{number}. {word} · {escaped(note.where)}: {escaped(note.finding.reason)}"
    if table.notes:
        yield ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _described(table: Table) -> list[str]:
    """The columns that describe the rows, in addition to their titles."""
    said = {"Size": "size", "Role": "role", "Origin": "origin"}
    return [
        title
        for title, name in said.items()
        if any(contents.shown(getattr(row, name)) for _, row in contents.rows(table))
    ]


def _heading(heading: Heading) -> str:
    unit = contents.unit(heading)
    parts = (
        escaped(heading.title),
        f"({escaped(unit)})" if unit else "",
        f"n {heading.n:,}" if heading.n is not None else "",
    )
    return " ".join(part for part in parts if part)


def _row(table: Table, row: Row, described: Sequence[str]) -> str:
    about = {"Size": row.size, "Role": row.role, "Origin": row.origin}
    return _line(
        [
            escaped(row.title),
            *(escaped(about[title]) or MISSING for title in described),
            *(_cell(table, cell) for _, cell in contents.cells(table, row)),
        ]
    )


def _cell(table: Table, cell: Cell) -> str:
    """The figure, its interval, its n and what it was counted from in brackets, and the numbers of
    its notes."""
    inside = [cell.interval] if cell.interval else []
    if cell.n is not None:
        inside.append(f"n {cell.n:,}")
    if cell.also:
        inside.append(cell.also)
    parts = [
        escaped(cell.text) or MISSING,
        f"({escaped(', '.join(inside))})" if inside else "",
        *(f"\\[{table.numbers[finding]}\\]" for finding in cell.findings),
    ]
    return " ".join(part for part in parts if part)
