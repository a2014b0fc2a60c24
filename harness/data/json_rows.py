"""Rows of JSON arrays and JSONL files."""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from harness.core.errors import DataError
from harness.data.image_store import ImageStore
from harness.data.pictures import found
from harness.data.rows import Row, RowBuilder
from harness.data.text import (
    MAX_ROW_BYTES,
    decode_text,
    lines_of,
    not_utf8,
    open_data,
    parse_json,
)

_PIECE = 2**20


def jsonl_rows(path: Path, *, skip: Callable[[DataError], None] | None = None) -> Iterator[Row]:
    """The objects of a JSONL file; blank lines are skipped.

    Args:
        skip: called for a line that is no such object, in place of raising the error.
    """
    with open_data(path) as file:
        builder = _builder(path, file)
        number = 0
        for where, line in _lines(path, file):
            try:
                row = builder.row(_object(line, where=where), where=where, number=number)
            except DataError as error:
                if skip is None:
                    raise
                skip(error)
                continue
            yield row
            number += 1


def jsonl_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """What errors call each line of a JSONL file, and its object; blank lines are skipped."""
    with open_data(path) as file:
        for where, line in _lines(path, file):
            yield where, _object(line, where=where)


def _lines(path: Path, file: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    for number, line in enumerate(lines_of(file, label=str(path)), start=1):
        if line.strip():
            yield f"{path.name}, line {number}", line


def _object(line: bytes, *, where: str) -> dict[str, Any]:
    return checked_object(parse_json(decode_text(line, where=where), where=where), where=where)


def checked_object(value: object, *, where: str) -> dict[str, Any]:
    """`value`, if it is a JSON object; raises DataError."""
    if not isinstance(value, dict):
        raise DataError(f"{where}: must be an object, found {found(value)}.")
    return value


def json_rows(path: Path) -> Iterator[Row]:
    """The objects of a JSON array, read piece by piece: VQAonline's test split has 133 MB."""
    with open_data(path) as file:
        builder = _builder(path, file)
        for number, fields in enumerate(_array_items(file, label=path.name)):
            where = f"{path.name}, object {number + 1}"
            yield builder.row(checked_object(fields, where=where), where=where, number=number)


def _builder(path: Path, file: IO[bytes]) -> RowBuilder:
    return RowBuilder(path.parent, ImageStore(os.fstat(file.fileno()).st_size))


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
            # Cut at the end of the piece, or wrong: the next piece decides.
            piece = _more(pieces, len(text) - at)
            if not piece or len(text) - at > MAX_ROW_BYTES:
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
            raise not_utf8(error, where=label, offset=read) from error
        read += len(piece)
