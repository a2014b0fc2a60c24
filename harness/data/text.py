"""Text of data files of unknown origin: lines of bounded length, UTF-8, JSON."""

from __future__ import annotations

import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from harness.core.errors import DataError
from harness.core.files.regular import MAX_JSONL_BYTES, open_regular, read_lines

_OPENERS: Mapping[str, Callable[..., Any]] = MappingProxyType({".gz": gzip.open, ".xz": lzma.open})
MAX_ROW_BYTES = 2**30
"""Of one line, or of one JSON object: a picture of `MAX_IMAGE_BYTES` in base64 fits."""


def open_data(path: Path) -> IO[bytes]:
    """Open a file with rows, one that ends in .gz or .xz unpacked; raises DataError. One that is
    named on the command line can be a pipe; in a folder only regular files are considered."""
    try:
        opened: IO[bytes] = _OPENERS.get(path.suffix, open)(path, "rb")
        return opened
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def lines_of(file: IO[bytes], *, label: str) -> Iterator[bytes]:
    """The lines of a file; raises DataError for one that is too long to be a row, and for a packed
    file that is damaged or never ends."""
    packed = isinstance(file, gzip.GzipFile | lzma.LZMAFile)
    size = 0
    try:
        for line in read_lines(file, limit=MAX_ROW_BYTES):
            size += len(line)
            if packed and size > MAX_JSONL_BYTES:
                raise DataError(
                    f"{label} has more than {MAX_JSONL_BYTES:,} bytes when it is unpacked."
                )
            yield line
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{label} cannot be read: {reason.rstrip('.')}.") from error


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
        raise not_utf8(error, where=where) from error


def not_utf8(error: UnicodeDecodeError, *, where: str, offset: int = 0) -> DataError:
    """The error for bytes that are no UTF-8; `offset` is the place of those that were decoded."""
    byte = error.object[error.start]
    return DataError(
        f"{where}: not UTF-8: byte {byte:#04x} at position {offset + error.start}.",
        remedy="Convert the file to UTF-8 first.",
    )
