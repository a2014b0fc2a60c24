"""What lies in a data folder: paths that stay in it, pictures, rows of JSON, JSONL, CSV and TSV.

This module alone opens files of unknown origin. A path written in the data is followed only within
its folder; a picture that is missing or broken is no error here, its `ImageRef` raises SampleError
when it is read.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn
from urllib.parse import unquote

from harness.core.errors import DataError, SampleError
from harness.core.files.regular import open_regular, read_regular
from harness.core.types import ImageRef
from harness.data.pictures import (
    MAX_IMAGE_BYTES,
    Encoded,
    Name,
    Part,
    columns,
    found,
    parts_of,
    picture_fields,
    pictures_in,
)
from harness.data.spool import Spool

_MAX_CELL = 2**30
"""Characters of one CSV cell: a picture of `MAX_IMAGE_BYTES` in base64 fits."""
_LONGEST_INDEX = 64
"""Image cells up to this length may name another row, the rule of VLMEvalKit."""
_PIECE = 2**20
_MAX_ITEM = 2**30
"""Bytes of one line, or of one JSON object: a picture of `MAX_IMAGE_BYTES` in base64 fits."""
_LONGEST_LABEL = 200


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a data set, before anything is checked but its picture's path."""

    where: str
    """What an error calls it: "test.jsonl, line 12"."""
    number: int
    """Its position among the rows, from 0: its id where it has none."""
    fields: Mapping[str, Any]
    """Those that hold no picture."""
    images: tuple[ImageRef, ...] = ()
    columns: tuple[str, ...] = ()
    """The names of all its fields."""
    choice_images: tuple[ImageRef, ...] = field(default=())
    """One for each choice, or none."""


class Folder:
    """A data folder, and the only way in which a path written in the data becomes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._boundary = _boundary(path)
        self._realpath = cache(os.path.realpath)
        self._listing = cache(self._list)

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

    def image(self, name: str, *, where: str, key: str = "image") -> ImageRef:
        """The picture that a row names; raises DataError as `inside` does.

        A bare name that is not in the folder itself is looked for in `images`, `images1` ..., the
        way in which VQAonline is published.
        """
        if _ADDRESS.match(name):
            label = shortened(name)
            reason = f"{label}: nothing is fetched from an address; save it in the data folder"
            return ImageRef(label=label, read=partial(refuse, reason))
        path = self.inside(name, where=where, key=key)
        if not os.path.exists(path):  # noqa: PTH110  # Path raises for long names
            path = self._otherwise_spelt(name, where=where, key=key) or path
        label = shortened(path.relative_to(self.path).as_posix())
        return ImageRef(label=label, read=partial(read_image, path, label=label))

    def _otherwise_spelt(self, name: str, *, where: str, key: str) -> Path | None:
        """The file that another system meant: Windows writes backslashes, macOS takes letters apart
        (NFD), neither minds capitals, and addresses have %20 for a space. A bare name may be in one
        of the numbered folders."""
        for written in dict.fromkeys([name, unquote(name)]):
            parts = [part for part in re.split(r"[/\\]", written.strip()) if part not in {"", "."}]
            if len(parts) == 1 and (path := self._numbered.get(_folded(parts[0]))):
                return path
            if at := self._walk(parts):
                return self.inside(at, where=where, key=key)
        return None

    def _walk(self, parts: Sequence[str]) -> str:
        """The path that these names make, however the file system spells them; "" where they are
        no file, or could be two."""
        at = ""
        for part in parts:
            names = self._listing(at).get(_folded(part), ())
            same = [name for name in names if _composed(name) == _composed(part)]
            if len(same or names) != 1:
                return ""
            at = f"{at}/{(same or names)[0]}".lstrip("/")
        return at

    def _list(self, relative: str) -> Mapping[str, Sequence[str]]:
        """The names in a folder below, by how they read in small letters."""
        names: dict[str, list[str]] = {}
        try:
            for path in (self.path / relative).iterdir():
                names.setdefault(_folded(path.name), []).append(path.name)
        except OSError:
            pass
        return names

    @cached_property
    def _numbered(self) -> Mapping[str, Path]:
        """File name in small letters -> path, of what is in `images`, `images1`, `images2` ..."""
        index: dict[str, Path] = {}
        for folder in sorted(self.path.glob("images*")):
            for parent, _, names in os.walk(folder):
                for name in names:
                    path = Path(parent, name)
                    if self._stays(path):
                        index.setdefault(_folded(name), path)
        return index


_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _composed(_composed(name).casefold())


def shortened(name: str) -> str:
    """A name as labels have it: a long one cut, and told from others by a hash."""
    if len(name) <= _LONGEST_LABEL:
        return name
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name[:60]}... ({len(name):,} characters, {digest[:8]})"


def refuse(reason: str) -> NoReturn:
    """Raises SampleError: how a picture is read that never can be."""
    raise SampleError(reason)


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
        return read_regular(path, limit=MAX_IMAGE_BYTES)
    except FileNotFoundError:
        raise SampleError(f"{label}: the file is missing") from None
    except OSError as error:
        raise SampleError(f"{label}: {error.strerror or error}") from error


class Gallery:
    """The pictures of rows that are read one by one: in the files that they name, or, written into
    the rows, in a spool."""

    def __init__(self, folder: Path, spool: Spool) -> None:
        self._folder = Folder(folder)
        self._spool = spool

    def row(
        self, fields: Mapping[str, Any], *, where: str, number: int, names: tuple[str, ...] = ()
    ) -> Row:
        """The row, its pictures apart from its other fields; `names` are all of the file's."""
        key, parts = pictures_in(fields, where=where)
        images = self.images(parts, where=where, key=key)
        holding = {name for group in picture_fields(tuple(fields)) for name in group}
        others = {name: value for name, value in fields.items() if name not in holding}
        return Row(where, number, others, images, names or tuple(fields))

    def images(self, parts: Sequence[Part], *, where: str, key: str) -> tuple[ImageRef, ...]:
        """The pictures that stand in one field; raises DataError for a path out of the folder."""
        several = len(parts) > 1
        return tuple(
            self._image(part, where=where, key=key, at=at if several else None)
            for at, part in enumerate(parts, start=1)
        )

    def _image(self, part: Part, *, where: str, key: str, at: int | None) -> ImageRef:
        if isinstance(part, Name):
            return self._folder.image(part.path, where=where, key=key)
        label = picture_label(where, key, at)
        try:
            read = self._spool.keep(part.data())
        except ValueError as error:
            read = partial(refuse, f"{label}: {error}")
        return ImageRef(label=label, read=read)


def picture_label(where: str, key: str, at: int | None) -> str:
    """What errors call a picture that is written into a row; `at` counts from 1, where there are
    several."""
    return f"{where}, field {key!r}" + (f", picture {at}" if at else "")


def open_data(path: Path) -> IO[bytes]:
    """A file with rows for reading; raises DataError. One that is named on the command line can be
    a pipe; in a folder only regular files are looked at."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def lines_of(file: IO[bytes], *, label: str) -> Iterator[bytes]:
    """The lines of a file; raises DataError for one that is too long to be a row."""
    while line := file.readline(_MAX_ITEM + 1):
        if len(line) > _MAX_ITEM:
            raise DataError(f"{label} has a line of more than {_MAX_ITEM:,} bytes.")
        yield line


def load_json(path: Path) -> Any:
    """The one JSON value in a file; raises DataError."""
    try:
        with open_regular(path) as file:
            data = file.read()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
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


def jsonl_rows(path: Path, *, skip: Callable[[DataError], None] | None = None) -> Iterator[Row]:
    """The objects of a JSONL file; blank lines are skipped.

    Args:
        skip: is told of a line that is no such object, in place of raising the error.
    """
    with open_data(path) as file:
        gallery = _gallery(path, file)
        number = 0
        for line_number, line in enumerate(lines_of(file, label=str(path)), start=1):
            if not line.strip():
                continue
            where = f"{path.name}, line {line_number}"
            try:
                fields = parse_json(decode_text(line, where=where), where=where)
                row = _json_row(fields, gallery, where=where, number=number)
            except DataError as error:
                if skip is None:
                    raise
                skip(error)
                continue
            yield row
            number += 1


def json_rows(path: Path) -> Iterator[Row]:
    """The objects of a JSON array, read piece by piece: VQAonline's test split has 133 MB."""
    with open_data(path) as file:
        gallery = _gallery(path, file)
        for number, fields in enumerate(_array_items(file, label=path.name)):
            where = f"{path.name}, object {number + 1}"
            yield _json_row(fields, gallery, where=where, number=number)


def _gallery(path: Path, file: IO[bytes]) -> Gallery:
    return Gallery(path.parent, Spool(os.fstat(file.fileno()).st_size))


def _json_row(fields: object, gallery: Gallery, *, where: str, number: int) -> Row:
    if not isinstance(fields, dict):
        raise DataError(f"{where}: must be an object, found {found(fields)}.")
    return gallery.row(fields, where=where, number=number)


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
            piece = _more(pieces, len(text) - at)
            if not piece or len(text) - at > _MAX_ITEM:
                raise DataError(f"{label}, object {count + 1}: not valid JSON: {error}.") from error
            text, at = text[at:] + piece, 0
        else:
            count += 1
            yield item


def _more(pieces: Iterator[str], wanted: int) -> str:
    """At least so many characters, if there are: a long object is tried a few times only."""
    taken, count = [], 0
    for piece in pieces:
        taken.append(piece)
        count += len(piece)
        if count >= wanted:
            break
    return "".join(taken)


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
    """The rows of a CSV or TSV file. A cell for pictures holds base64, as VLMEvalKit ships them, or
    what the same field of a JSON file may hold.

    An `image` cell may name another row by its `index`, whose pictures it then shares. The text is
    read once; of pictures in base64 only the places are kept, and each is read from the file when
    it is asked for.
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
    """Where in its row a picture in base64 stands."""

    column: int
    at: int
    """Among the pictures of its cell."""


class _Line(NamedTuple):
    """A row of a CSV file without its pictures."""

    place: _Record
    fields: dict[str, str]
    key: str
    """The column that holds the pictures."""
    pictures: tuple[Name | _Cell, ...]
    refers: str
    """The index of the row whose pictures are meant, if there is one."""


def _line(header: list[str], record: _Record, *, where: str) -> _Line:
    cells = dict(zip(header, record.cells, strict=True))
    groups = picture_fields(tuple(header))
    holding = {name for group in groups for name in group}
    fields = {name: cell for name, cell in cells.items() if name not in holding}
    fields.setdefault("id", fields.get("index", ""))
    if not fields["id"]:
        del fields["id"]
    group = next((group for group in groups if any(cells[name].strip() for name in group)), ())
    key, refers = (group[0], cells[group[0]].strip()) if group else ("", "")
    pictures: list[Name | _Cell] = []
    for name in group:
        parts = parts_of(cells[name], where=where, key=name)
        column = header.index(name)
        for at, part in enumerate(parts):
            pictures.append(_Cell(column, at) if isinstance(part, Encoded) else part)
    if key != "image" or len(refers) > _LONGEST_INDEX:
        refers = ""
    return _Line(record._replace(cells=[]), fields, key, tuple(pictures), refers)


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
    picture = line.pictures[at]
    where = f"{path.name}, line {line.place.line}"
    if isinstance(picture, Name):
        return folder.image(picture.path, where=where, key=line.key)
    label = picture_label(where, line.key, at + 1 if len(line.pictures) > 1 else None)
    read = partial(_read_cell, path, line.place, picture, label=label)
    return ImageRef(label=label, read=read)


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
            for data in lines_of(file, label=str(path)):
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
