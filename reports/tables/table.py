"""A table of the leaderboard as plain data: rows, cells, and notes that say why.

This module knows neither records nor HTML. `measured` and `reported` fill it, the template shows
it, and other formats can be written from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from reports.statistics.sanity import Finding
from reports.statistics.sanity import Kind as KindOfFinding

MISSING = "—"

Kind = Literal["number", "text", "strip"]
Tone = Literal[
    "", "heat0", "heat1", "heat2", "heat3", "heat4", "heat5", "heat6", "heat7",
    "loss4", "loss3", "loss2", "loss1", "even", "gain1", "gain2", "gain3", "gain4",
]  # fmt: skip
Direction = Literal["ascending", "descending"]


@dataclass(frozen=True, slots=True)
class KindOfNote:
    """How findings of one kind are marked; a glyph never stands without its word."""

    glyph: str
    word: str
    meaning: str


KINDS: Mapping[KindOfFinding, KindOfNote] = {
    "impossible": KindOfNote(
        "✗", "Cannot be right", "Arithmetically impossible, whatever its n, or by its own record."
    ),
    "misfit": KindOfNote(
        "≠", "Does not fit n", "Of no whole number of these questions, though of others."
    ),
    "doubtful": KindOfNote("⚠", "Doubtful", "Possible, but implausible."),
    "remark": KindOfNote("†", "Worth knowing", "Relevant to a fair comparison."),
    "missing": KindOfNote("", "Missing", "The reason for a dash."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """An accuracy as it is drawn, on a scale from 0 to 100."""

    value: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    reported: float | None = None
    """What the paper has for the same model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure as it is printed."""

    text: str = MISSING
    value: float | None = None
    """What sorting goes by, in the unit of the text; None: missing."""
    interval: str = ""
    """The 95% interval, in the same unit; empty: none."""
    low: float | None = None
    high: float | None = None
    """The interval's ends with all their digits, for exports."""
    n: int | None = None
    """Number of samples."""
    findings: tuple[Finding, ...] = ()
    strip: Strip | None = None
    kind: Kind = "number"
    also: str = ""
    """A further line below the figure: what it was counted from."""
    link: str = ""
    """Where `also` leads: a fragment of the page."""
    tone: Tone = ""
    """Background colour in a heat map; the figure says the same."""
    about: str = ""
    """More of it in a sentence, where the cell itself is kept short."""
    best: bool = False
    """It is marked as the best of its column: paired tests leave no doubt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """The head of a column."""

    key: str
    """Unique within its table: the metric, where the column shows one."""
    title: str
    meaning: str = ""
    """In words, where the title is an abbreviation."""
    unit: str = ""
    implied_unit: str = ""
    """The unit where the table's caption says it for all columns; for exports."""
    n: int | None = None
    """The n of all its cells, where that is one number for the whole table."""
    also: str = ""
    """What follows that n: " of 1,050"."""
    kind: Kind = "number"
    is_detail: bool = False
    """Only the page's full view shows the column."""
    best: Direction = "descending"
    """The order that has the best figure on top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model, or one topic, with its cells in the order of the headings."""

    title: str
    cells: tuple[Cell, ...]
    size: str = ""
    role: str = ""
    origin: str = ""
    """How the row came about, in words."""
    run: str = ""
    """The id of its provenance; empty: it has none."""
    id: str = ""
    """Of the row itself, where something leads to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows that share enough questions."""

    rows: tuple[Row, ...]
    title: str = ""
    """Which questions, in words."""
    chance: str = ""
    """What blind guessing gets on them."""
    origin: str = ""
    """How all of its rows came about, where they do not say it themselves."""


@dataclass(frozen=True, slots=True)
class Note:
    """A finding below a table, and the cells that point to it."""

    finding: Finding
    where: str
    """Rows and columns, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table of the page; made by `table`."""

    id: str
    caption: str
    headings: tuple[Heading, ...]
    groups: tuple[Group, ...]
    notes: tuple[Note, ...]
    """Every finding of its cells once, in reading order."""
    numbers: Mapping[Finding, int]
    """Finding -> the number of its note, from 1."""
    row_title: str = "Model"
    sorted_by: str = ""
    """The key of the column by which the rows are sorted, best first; empty: as they came."""


def table(
    name: str,
    caption: str,
    headings: Sequence[Heading],
    *,
    groups: Sequence[Group],
    row_title: str = "Model",
    sorted_by: str = "",
) -> Table:
    """A table with its notes collected; `name` becomes its id."""
    rows: dict[Finding, dict[str, None]] = {}
    columns: dict[Finding, dict[str, None]] = {}
    for row in (row for group in groups for row in group.rows):
        for heading, cell in zip(headings, row.cells, strict=True):
            for finding in cell.findings:
                rows.setdefault(finding, {})[row.title] = None
                columns.setdefault(finding, {})[heading.title] = None
    return Table(
        id=name,
        caption=caption,
        headings=tuple(headings),
        groups=tuple(groups),
        notes=tuple(
            Note(finding, f"{_listed(rows[finding])}, {_listed(columns[finding])}")
            for finding in rows
        ),
        numbers={finding: number for number, finding in enumerate(rows, start=1)},
        row_title=row_title,
        sorted_by=sorted_by,
    )


def condensed(it: Table) -> Table:
    """The table as people read it: what all figures of a column or all rows of a group have in
    common is said once, in its heading."""
    shared = [
        _only(
            row.cells[place].n
            for group in it.groups
            for row in group.rows
            if row.cells[place].value is not None
        )
        for place in range(len(it.headings))
    ]
    headings = (
        heading if heading.n is not None else replace(heading, n=n)
        for heading, n in zip(it.headings, shared, strict=True)
    )
    return replace(
        it,
        headings=tuple(headings),
        groups=tuple(_condensed(group, shared, it.caption) for group in it.groups),
    )


def _condensed(group: Group, shared: Sequence[int | None], caption: str) -> Group:
    """The group, with what its title or the table's caption says of its rows left out of them."""
    origin = _only(row.origin for row in group.rows) or ""
    told = f"{group.title} \N{MIDDLE DOT} {caption}".split(" \N{MIDDLE DOT} ")
    rest = ", ".join(part for part in origin.split(", ") if part not in told)
    in_rows = "" if group.title else rest
    rows = [
        replace(
            row,
            origin=in_rows if origin else row.origin,
            cells=tuple(
                cell if n is None else replace(cell, n=None)
                for cell, n in zip(row.cells, shared, strict=True)
            ),
        )
        for row in group.rows
    ]
    return replace(group, rows=tuple(rows), origin=rest if group.title else "")


_T = TypeVar("_T")


def _only(found: Iterable[_T | None]) -> _T | None:
    """What all of them are; None where they differ."""
    known = set(found)
    return known.pop() if len(known) == 1 else None


def labelled(it: Table, label: str) -> Table:
    """A table whose caption says what its rows are; an empty label changes nothing."""
    return replace(it, caption=f"{it.caption} \N{MIDDLE DOT} {label}") if label else it


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:5])} and others"


def missing(reason: str, *, kind: Kind = "number") -> Cell:
    """An em dash that says why."""
    return Cell(findings=(Finding("missing", (), f"{reason.rstrip('.')}."),), kind=kind)
