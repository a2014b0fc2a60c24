"""Rows of CSV and TSV files: the text is read once, base64 pictures when they are needed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from harness.core.errors import DataError, SampleError
from harness.core.files.regular import open_regular
from harness.core.images import ImageRef
from harness.data.answer_keys import CHOICES
from harness.data.folder import Folder
from harness.data.literals import cell_value
from harness.data.pictures import (
    Encoded,
    Name,
    columns,
    found,
    parts_of,
    picture_fields,
    picture_number,
)
from harness.data.rows import Row, picture_label
from harness.data.text import decode_text, lines_of, open_data

_MAX_CELL = 2**30
"""Characters of one CSV cell: a picture of `MAX_IMAGE_BYTES` in base64 fits."""
LISTS = (*CHOICES, "answers")
"""Fields whose cells may hold a list as text."""
_LONGEST_INDEX = 64
"""Image cells up to this length may name another row, the rule of VLMEvalKit."""


def delimited_rows(path: Path) -> Iterator[Row]:
    """The rows of a CSV or TSV file. A cell for pictures holds base64, as VLMEvalKit ships them, or
    what the same field of a JSON file may hold.

    An `image` cell may name another row by its `index`, whose pictures it then shares. The text is
    read once; of base64 pictures only the places are kept, and each is read from the file when it
    is needed.
    """
    # The csv module's limit is the interpreter's, and far below the size of a picture.
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_CELL))
    records = _records(path)
    header = next(records, _Record(1, 0, 0, [])).cells
    if "question" not in header:
        raise DataError(
            f"{path.name}, line 1: no column 'question'.",
            known=f"The columns are {columns(header) or 'none'}.",
        )
    lines: list[_Line] = []
    by_index: dict[str, int] = {}
    for record in records:
        if len(record.cells) != len(header):
            raise DataError(
                f"{path.name}, line {record.line}: {len(record.cells)} cells, "
                f"where the header has {len(header)}."
            )
        line = _line(header, record, where=f"{path.name}, line {record.line}")
        if index := line.fields.get("index"):
            by_index[index] = len(lines)
        lines.append(line)
    folder = Folder(path.parent)
    for number, line in enumerate(lines):
        where = f"{path.name}, line {line.place.line}"
        shown = lines[_shown(lines, number, by_index, where=where)]
        images = tuple(_cell_image(path, shown, at, folder) for at in range(len(shown.pictures)))
        yield Row(where, number, line.fields, images, tuple(header))


class _Cell(NamedTuple):
    """The place of a base64 picture in its row."""

    column: int
    at: int
    """Among the pictures of its cell."""


class _Line(NamedTuple):
    """A row of a CSV file without its pictures."""

    place: _Record
    fields: dict[str, Any]
    pictures: tuple[tuple[str, Name | _Cell], ...]
    """Each with its column."""
    refers: str
    """The index of the row whose pictures are meant, if there is one."""


def _line(header: list[str], record: _Record, *, where: str) -> _Line:
    cells = dict(zip(header, record.cells, strict=True))
    groups = picture_fields(tuple(header))
    holding = {name for group in groups for name in group}
    fields = {
        name: cell_value(cell) if name in LISTS else cell
        for name, cell in cells.items()
        if name not in holding
    }
    fields.setdefault("id", fields.get("index", ""))
    if not fields["id"]:
        del fields["id"]
    group = next((group for group in groups if any(cells[name].strip() for name in group)), ())
    key, refers = (group[0], cells[group[0]].strip()) if group else ("", "")
    pictures: list[tuple[str, Name | _Cell]] = []
    for name in group:
        parts = parts_of(cells[name], where=where, key=name)
        column = header.index(name)
        for at, part in enumerate(parts):
            cell = _Cell(column, at) if isinstance(part, Encoded) else part
            pictures.append((name, cell))
    if key != "image" or len(refers) > _LONGEST_INDEX:
        refers = ""
    return _Line(record._replace(cells=[]), fields, tuple(pictures), refers)


def _shown(lines: Sequence[_Line], number: int, by_index: Mapping[str, int], *, where: str) -> int:
    """The row whose pictures the row `number` shows."""
    seen = {number}
    while (refers := lines[number].refers) in by_index:
        if by_index[refers] in seen:
            raise DataError(f"{where}, field 'image': {found(refers)} refers back to a row before.")
        number = by_index[refers]
        seen.add(number)
    if refers.isdigit() and len(refers) < _LONGEST_INDEX // 2:
        raise DataError(f"{where}, field 'image': there is no row with index {found(refers)}.")
    return number


def _cell_image(path: Path, line: _Line, at: int, folder: Folder) -> ImageRef:
    column, picture = line.pictures[at]
    several = [name for name, _ in line.pictures].count(column) > 1
    number = 0 if several else picture_number(column)
    where = f"{path.name}, line {line.place.line}"
    if isinstance(picture, Name):
        return replace(folder.image(picture.path, where=where, key=column), number=number)
    label = picture_label(where, column, picture.at + 1 if several else None)
    read = partial(_read_cell, path, line.place, picture, label=label)
    return ImageRef(label=label, read=read, number=number)


class _Record(NamedTuple):
    """A row of a CSV file, and its place there."""

    line: int
    """Its first line, from 1."""
    offset: int
    length: int
    """In bytes."""
    cells: list[str]


def _records(path: Path) -> Iterator[_Record]:
    with open_data(path) as file:
        line, end = 0, 0

        def lines() -> Iterator[str]:
            nonlocal line, end
            for data in lines_of(file, label=str(path)):
                line, end = line + 1, end + len(data)
                yield decode_text(data, where=f"{path.name}, line {line}")

        # The reader takes lines only as it needs them: a row ends where it stops.
        start, first = 0, 1
        reader = _reader(lines(), path)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(f"{path.name}, line {first}: {error}.") from error
            if cells:
                yield _Record(first, start, end - start, cells)
            start, first = end, line + 1


def _reader(lines: Iterable[str], path: Path) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)


def _read_cell(path: Path, place: _Record, cell: _Cell, *, label: str) -> bytes:
    try:
        with open_regular(path) as file:
            file.seek(place.offset)
            text = file.read(place.length).decode("utf-8-sig")
        lines = (f"{line}\n" for line in text.split("\n"))
        written = next(_reader(lines, path))[cell.column]
        part = parts_of(written, where=label, key="")[cell.at]
    except (DataError, OSError, UnicodeDecodeError, csv.Error, StopIteration, IndexError) as error:
        raise SampleError(f"{label}: cannot be read again: {error}") from error
    if not isinstance(part, Encoded):
        raise SampleError(f"{label}: cannot be read again: the file has changed")
    try:
        return part.data()
    except ValueError as error:
        raise SampleError(f"{label}: {error}") from error
