"""The order of the paper's rows next to that of their minis, and where the two differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from harness.run.records import RunRecord
from reports.inputs import runs
from reports.inputs.paper import PaperTable
from reports.numbers import counted, fixed
from reports.statistics.kendall import differing_pairs, kendall_tau

FEWEST = 3
"""Rows whose order says something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A row at its place in an order."""

    title: str
    figure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperOrder:
    """The rows of one of the paper's tables that have minis, best first, twice."""

    title: str
    """What they are ordered by."""
    places: tuple[tuple[Place, Place], ...]
    """(in the paper, in miniature)."""
    tau: str
    """Kendall's, in words, and in how many pairs the orders differ or may differ."""
    pairs: tuple[str, ...]
    """Those in which the orders differ, in words."""


def paper_order(
    records: Sequence[RunRecord],
    table: PaperTable,
    *,
    separable: Callable[[str, str], bool],
) -> PaperOrder | None:
    """None where a run is no mini, or too few of them are of the paper's rows.

    Args:
        separable: whether tests put one of two runs, given by their ids, before the other.
    """
    found = _minis(records, table)
    if len(found) < FEWEST or not all(run.model.mini for run in records):
        return None
    shown = table.format(table.decisive)
    rows = {row.name: row for row in table.rows if row.name in found}
    printed = {name: Fraction(row.cells[table.decisive]) for name, row in rows.items()}
    measured = {
        name: Fraction(runs.figure(run, table.decisive).value or 0.0) for name, run in found.items()
    }
    differing = differing_pairs(printed, measured)
    open_ones = sum(
        not separable(runs.run_id(found[one]), runs.run_id(found[other]))
        for one, other in combinations(found, 2)
        if not {(one, other), (other, one)} & {*differing}
    )
    tau = fixed(kendall_tau(printed, measured), 2)
    places = zip(_best_first(printed), _best_first(measured), strict=True)
    return PaperOrder(
        title=f"{table.title}, {shown.in_words}",
        places=tuple(
            (
                Place(title=rows[a].model, figure=f"{rows[a].cells[table.decisive]}{table.unit}"),
                Place(title=runs.title(found[b]), figure=shown.figure(float(measured[b]))),
            )
            for a, b in places
        ),
        tau=f"Kendall's tau between the two orders: {tau}; "
        f"{_pairs_in_words(len(found), differing=len(differing), open_ones=open_ones)}.",
        pairs=tuple(
            _pair(found[worse], found[better], separable=separable) for better, worse in differing
        ),
    )


def _pairs_in_words(rows: int, *, differing: int, open_ones: int) -> str:
    """How many pairs of so many rows differ, and how many others may, as tests leave them open."""
    pairs = counted(rows * (rows - 1) // 2, "pair")
    words = f"{differing} of {pairs} {'differs' if differing == 1 else 'differ'}"
    if not open_ones:
        return words
    return f"{words}, {open_ones} of the others {'is' if open_ones == 1 else 'are'} not separable"


def _pair(first: RunRecord, second: RunRecord, *, separable: Callable[[str, str], bool]) -> str:
    """A pair of runs, the first with the better score."""
    words = f"{runs.title(first)} above {runs.title(second)}"
    certain = separable(runs.run_id(first), runs.run_id(second))
    return words if certain else f"{words} (not separable)"


def _minis(records: Sequence[RunRecord], table: PaperTable) -> Mapping[str, RunRecord]:
    """The paper's name of a row -> its run that has a score; a student that was distilled here
    comes before the shipped one."""
    scored = {
        str(run.model.name): run
        for run in records
        if run.model.mini and runs.figure(run, table.decisive).value is not None
    }
    known = ((row.name, (row.name, f"{row.name}-mini")) for row in table.rows)
    return {
        name: next(scored[each] for each in names if each in scored)
        for name, names in known
        if any(each in scored for each in names)
    }


def _best_first(figures: Mapping[str, Fraction]) -> list[str]:
    return sorted(figures, key=lambda name: -figures[name])
