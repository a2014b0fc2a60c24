"""What lies in a data folder: paths that stay in it, pictures, rows of JSON, JSONL, CSV and TSV.

This module alone opens files of unknown origin. A path written in the data is followed only within
its folder; a picture that is missing or broken is no error here, its `ImageRef` raises SampleError
when it is read.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import csv
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from harness.errors import DataError, SampleError
from harness.types import ImageRef

MAX_IMAGE_BYTES = 256 * 2**20
_MAX_CELL = 2**30
"""Characters of one CSV cell: a picture of `MAX_IMAGE_BYTES` in base64 fits."""
_LONGEST_INDEX = 64
"""Image cells up to this length may name another row, the rule of VLMEvalKit."""
_PIECE = 2**20
_MAX_ITEM = 64 * _PIECE
"""Bytes that are read in search of the end of one JSON object."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a data set, before anything is checked but its picture's path."""

    where: str
    """What an error calls it: "test.jsonl, line 12"."""
    number: int
    """Its position among the rows, from 0: its id where it has none."""
    fields: Mapping[str, Any]
    image: ImageRef | None = None
    choice_images: tuple[ImageRef, ...] = field(default=())
    """One for each choice, or none."""


def is_name(value: object) -> bool:
    """Whether an `image` field names something; null, "" and white space name nothing."""
    return value is not None and not (isinstance(value, str) and not value.strip())


def found(value: object) -> str:
    """`value` as an error message shows it: escaped, short, with its type."""
    text = ascii(value)
    kind = type(value).__name__
    if isinstance(value, list | tuple):
        kind = f"{kind} of {len(value)}"
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({kind})"


class Folder:
    """A data folder, and the only way in which a path written in the data becomes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._boundary = _boundary(path)
        self._realpath = cache(os.path.realpath)

    def inside(self, relative: object, *, where: str, key: str = "image") -> Path:
        """The path of `relative` in this folder; it need not exist.

        Raises:
            DataError: it is not a relative path, or leads out of the folder, by ".." or by a link.
        """
        if not isinstance(relative, str):
            raise DataError(f"{where}, field {key!r}: must be a path, found {found(relative)}.")
        parts = re.split(r"[/\\]", relative)
        if relative.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:", relative):
            problem = "is an absolute path"
        elif ".." in parts:
            problem = "leads out of the data folder"
        elif "\0" in relative or any("\ud800" <= c <= "\udfff" for c in relative):
            problem = "is not a file name"
        else:
            path = self.path / relative
            if self._stays(path):
                return path
            problem = "is a link that leads out of the data folder"
        raise DataError(
            f"{where}, field {key!r}: {found(relative)} {problem}.",
            known=f"Paths are relative to {self.path} and stay in it.",
        )

    def _stays(self, path: Path) -> bool:
        # Folders repeat from row to row: each is resolved once, the last part for every row.
        real = f"{self._realpath(path.parent)}/{path.name}"
        if os.path.islink(real):  # noqa: PTH114  # a text; a Path for each row costs more
            real = os.path.realpath(real)
        return os.path.commonpath([real, self._boundary]) == self._boundary

    def image(self, relative: object, *, where: str) -> ImageRef:
        """The picture that a row names; raises DataError as `inside` does.

        A bare name that is not in the folder itself is looked for in `images1`, `images2` ..., the
        way in which VQAonline is published.
        """
        path = self.inside(relative, where=where)
        if path.parent == self.path and not os.path.exists(path):  # noqa: PTH110  # Path raises for long names
            path = self._numbered.get(path.name, path)
        label = path.relative_to(self.path).as_posix()
        return ImageRef(label=label, read=partial(read_image, path, label=label))

    @cached_property
    def _numbered(self) -> dict[str, Path]:
        """File name -> path, of what is in `images1`, `images2` ..."""
        index: dict[str, Path] = {}
        for folder in sorted(self.path.glob("images[0-9]*")):
            for parent, _, names in os.walk(folder):
                for name in names:
                    path = Path(parent, name)
                    if self._stays(path):
                        index.setdefault(name, path)
        return index


def _boundary(folder: Path) -> str:
    """What a data folder's links may lead to: itself, or, for a snapshot in the hub's cache, whose
    files are links, the cached repository that it belongs to.
    """
    real = Path(os.path.realpath(folder))
    for parent in real.parents:
        if parent.name == "snapshots" and (parent.parent / "blobs").is_dir():
            return str(parent.parent)
    return str(real)


def read_image(path: Path, *, label: str) -> bytes:
    """The encoded picture; raises SampleError."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SampleError(f"{label}: not a regular file")
            if status.st_size > MAX_IMAGE_BYTES:
                raise SampleError(f"{label}: {status.st_size:,} bytes are too many for a picture")
            return file.read()
    except FileNotFoundError:
        raise SampleError(f"{label}: the file is missing") from None
    except OSError as error:
        raise SampleError(f"{label}: {error.strerror or error}") from error


def _at_once(path: str, flags: int) -> int:
    """Open without waiting, as opening a pipe does until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def open_data(path: Path) -> IO[bytes]:
    """A data file for reading; raises DataError."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def load_json(path: Path) -> Any:
    """The one JSON value in a file; raises DataError."""
    with open_data(path) as file:
        data = file.read()
    return parse_json(decode_text(data, where=str(path)), where=str(path))


def parse_json(text: str, *, where: str) -> Any:
    """The JSON value in `text`; raises DataError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON: {error}.") from error


def decode_text(data: bytes, *, where: str) -> str:
    """`data` as UTF-8, without a byte order mark; raises DataError."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(error, where=where) from error


def _not_utf8(error: UnicodeDecodeError, *, where: str, offset: int = 0) -> DataError:
    byte = error.object[error.start]
    return DataError(
        f"{where}: not UTF-8: byte {byte:#04x} at position {offset + error.start}.",
        remedy="Convert the file to UTF-8 first.",
    )


def jsonl_rows(path: Path) -> Iterator[Row]:
    """The objects of a JSONL file; blank lines are skipped."""
    folder = Folder(path.parent)
    number = 0
    with open_data(path) as file:
        for line_number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path.name}, line {line_number}"
            fields = parse_json(decode_text(line, where=where), where=where)
            yield _json_row(fields, folder, where=where, number=number)
            number += 1


def json_rows(path: Path) -> Iterator[Row]:
    """The objects of a JSON array, read piece by piece: VQAonline's test split has 133 MB."""
    folder = Folder(path.parent)
    with open_data(path) as file:
        for number, fields in enumerate(_array_items(file, label=path.name)):
            where = f"{path.name}, object {number + 1}"
            yield _json_row(fields, folder, where=where, number=number)


def _json_row(fields: object, folder: Folder, *, where: str, number: int) -> Row:
    if not isinstance(fields, dict):
        raise DataError(f"{where}: must be an object, found {found(fields)}.")
    name = fields.get("image")
    image = folder.image(name, where=where) if is_name(name) else None
    return Row(where, number, fields, image)


def _array_items(file: IO[bytes], *, label: str) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    pieces = _text_pieces(file, label=label)
    text, at, count = next(pieces, "").lstrip(), 1, 0
    if not text.startswith("["):
        raise DataError(f"{label}: must be a JSON array of objects.")
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if text.startswith("]", at):
            return
        try:
            item, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            # Cut at the end of the piece, or wrong: the next piece tells.
            piece = next(pieces, "")
            if not piece or len(text) - at > _MAX_ITEM:
                raise DataError(f"{label}, object {count + 1}: not valid JSON: {error}.") from error
            text, at = text[at:] + piece, 0
        else:
            count += 1
            yield item


def _text_pieces(file: IO[bytes], *, label: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    read = 0
    while piece := file.read(_PIECE):
        try:
            yield decoder.decode(piece)
        except UnicodeDecodeError as error:
            raise _not_utf8(error, where=label, offset=read) from error
        read += len(piece)


def delimited_rows(path: Path) -> Iterator[Row]:
    """The rows of a CSV or TSV file whose `image` cells are base64, as VLMEvalKit ships them.

    A cell may name another row by its `index`, whose picture it then shares. The text is read once;
    of the pictures only the places are kept, and each is read from the file when it is asked for.
    """
    # The csv module's limit is the interpreter's, and far below the size of a picture.
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_CELL))
    records = _records(path)
    header = next(records, _Record(1, 0, 0, [])).cells
    if "question" not in header:
        raise DataError(
            f"{path.name}, line 1: no column 'question'.",
            known=f"The columns are {', '.join(header)[:200] or 'none'}.",
        )
    column = header.index("image") if "image" in header else None
    rows: list[tuple[_Record, dict[str, str], str]] = []
    by_index: dict[str, int] = {}
    for record in records:
        if len(record.cells) != len(header):
            raise DataError(
                f"{path.name}, line {record.line}: {len(record.cells)} cells, "
                f"where the header has {len(header)}."
            )
        fields = dict(zip(header, record.cells, strict=True))
        image = fields.pop("image", "").strip()
        fields.setdefault("id", fields.get("index", ""))
        if not fields["id"]:
            del fields["id"]
        by_index[fields.get("index", "")] = len(rows)
        short = image if len(image) <= _LONGEST_INDEX else "..."
        rows.append((record._replace(cells=[]), fields, short))
    for number, (record, fields, short) in enumerate(rows):
        where = f"{path.name}, line {record.line}"
        shown, seen = number, {number}
        while (named := rows[shown][2]) in by_index:
            shown = by_index[named]
            if shown in seen:
                raise DataError(f"{where}, field 'image': row {found(short)} refers back to it.")
            seen.add(shown)
        if named.isdigit() and len(named) < _LONGEST_INDEX // 2:
            raise DataError(f"{where}, field 'image': there is no row with index {found(named)}.")
        place = rows[shown][0]
        ref = None
        if named and column is not None:
            label = f"{path.name}, line {place.line}, field 'image'"
            ref = ImageRef(label=label, read=partial(_read_cell, path, place, column, label=label))
        yield Row(where, number, fields, ref)


class _Record(NamedTuple):
    """A row of a CSV file, and where it stands."""

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
            for data in file:
                line, end = line + 1, end + len(data)
                yield decode_text(data, where=f"{path.name}, line {line}")

        # The reader takes lines only as it needs them: where it stops, a row ends.
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


def _read_cell(path: Path, place: _Record, column: int, *, label: str) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(place.offset)
            text = file.read(place.length).decode("utf-8-sig")
        lines = (f"{line}\n" for line in text.split("\n"))
        cell = next(_reader(lines, path))[column]
        return base64.b64decode("".join(cell.split()), validate=True)
    except binascii.Error as error:
        raise SampleError(f"{label}: not base64: {error}") from error
    except (OSError, UnicodeDecodeError, csv.Error, StopIteration, IndexError) as error:
        raise SampleError(f"{label}: cannot be read again: {error}") from error
