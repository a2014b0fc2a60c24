"""A spreadsheet of one sheet: the least that a reader of .xlsx files needs."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from string import ascii_uppercase
from xml.sax.saxutils import escape

MAX_CHARACTERS = 32_767
"""Of a cell."""
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_OPEN = "http://schemas.openxmlformats.org"
_PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{_OPEN}/package/2006/content-types">'
    '<Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-'
    'officedocument.spreadsheetml.sheet.main+xml"/>'
    '<Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-'
    'officedocument.spreadsheetml.worksheet+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_OPEN}/package/2006/relationships">'
    f'<Relationship Id="rId1" Type="{_OPEN}/officeDocument/2006/relationships/officeDocument" '
    'Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_OPEN}/spreadsheetml/2006/main" '
    f'xmlns:r="{_OPEN}/officeDocument/2006/relationships">'
    '<sheets><sheet name="Sheet1" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_OPEN}/package/2006/relationships">'
    f'<Relationship Id="rId1" Type="{_OPEN}/officeDocument/2006/relationships/worksheet" '
    'Target="worksheets/sheet1.xml"/></Relationships>',
}
_SHEET = "xl/worksheets/sheet1.xml"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Of every part, so that the same rows give the same bytes."""


def spreadsheet(headings: Sequence[str], rows: Iterable[Sequence[str | int]]) -> bytes:
    """The file, with the headings in its first row."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in (_PARTS | {_SHEET: _sheet([headings, *rows])}).items():
            packed.writestr(zipfile.ZipInfo(name, _EPOCH), _HEAD + text, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def _sheet(rows: Iterable[Sequence[str | int]]) -> str:
    lines = "".join(
        f'<row r="{at}">'
        + "".join(_cell(f"{ascii_uppercase[place]}{at}", value) for place, value in enumerate(row))
        + "</row>"
        for at, row in enumerate(rows, start=1)
    )
    inside = f"<sheetData>{lines}</sheetData>"
    return f'<worksheet xmlns="{_OPEN}/spreadsheetml/2006/main">{inside}</worksheet>'


def _cell(place: str, value: str | int) -> str:
    """A number or a text; a text is never computed as a formula."""
    if isinstance(value, int):
        return f'<c r="{place}"><v>{value}</v></c>'
    text = escape(_NOT_XML.sub("\ufffd", value)[:MAX_CHARACTERS])
    return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'
