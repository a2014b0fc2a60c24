"""Tables as JSON: the page's tables cell by cell, numbers with all their digits, nothing escaped
beyond JSON's own rules. What is missing is null, with a note that says why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from reports.export.contents import cells, headings, is_missing, rows, samples, shown, unit
from reports.tables.table import Cell, Group, Heading, Row, Table

FORMAT = 1


def write(tables: Sequence[Table]) -> str:
    """One JSON document; it has no NaN and no infinity."""
    document = {"format": FORMAT, "tables": [_table(table) for table in tables]}
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _table(table: Table) -> dict[str, Any]:
    return {
        "id": shown(table.id),
        "caption": shown(table.caption),
        "row_title": shown(table.row_title),
        "sorted_by": shown(table.sorted_by) or None,
        "columns": [_column(heading) for heading in headings(table)],
        "rows": [_row(table, group, row) for group, row in rows(table)],
    }


def _column(heading: Heading) -> dict[str, Any]:
    return {
        "key": shown(heading.key),
        "title": shown(heading.title),
        "meaning": shown(heading.meaning),
        "unit": unit(heading),
        "kind": heading.kind,
        "best": heading.best,
    }


def _row(table: Table, group: Group, row: Row) -> dict[str, Any]:
    return {
        "title": shown(row.title),
        "size": shown(row.size),
        "role": shown(row.role),
        "origin": shown(row.origin),
        "run": shown(row.run) or None,
        "questions": shown(group.title),
        "chance": shown(group.chance),
        "cells": {shown(heading.key): _cell(heading, cell) for heading, cell in cells(table, row)},
    }


def _cell(heading: Heading, cell: Cell) -> dict[str, Any]:
    return {
        "value": cell.value,
        "low": cell.low,
        "high": cell.high,
        "n": samples(heading, cell),
        "printed": None if is_missing(cell) else shown(cell.text),
        "also": shown(cell.also) or None,
        "notes": [{"kind": each.kind, "reason": shown(each.reason)} for each in cell.findings],
    }
