"""A spreadsheet of one sheet, in which no text is computed as a formula."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import datetime

MAX_CHARACTERS = 32_767
"""Of a cell."""
_CREATED = datetime(1980, 1, 1)  # noqa: DTZ001  # the format has no time zones
"""Of every file, so that the same rows give the same bytes."""


def spreadsheet(headings: Sequence[str], rows: Iterable[Sequence[str | int]]) -> bytes:
    """The .xlsx file, with the headings in its first row."""
    from xlsxwriter import Workbook

    file = io.BytesIO()
    with Workbook(file, {"in_memory": True}) as book:
        book.set_properties({"created": _CREATED})
        sheet = book.add_worksheet()
        for at, row in enumerate([headings, *rows]):
            for place, value in enumerate(row):
                if isinstance(value, int):
                    sheet.write_number(at, place, value)
                else:
                    sheet.write_string(at, place, value[:MAX_CHARACTERS])
    return file.getvalue()
