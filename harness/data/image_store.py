"""Pictures from data files, copied to one temporary file that ends with the process.

Parquet, Arrow and JSON give no access to a single picture; a copy does, and later changes of the
data file do not reach it during a run.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable
from functools import partial
from hashlib import sha256

from harness.core.errors import HarnessError

Read = Callable[[], bytes]

_PLAIN = 64 * 2**20
"""Bytes that are stored uncompressed in any case."""


class ImageStore:
    """Stores pictures; any thread or forked process can read each by its place.

    Equal pictures are stored once. More bytes than the data files have show that these are
    compressed: from then on pictures are compressed here too, so that a small file never fills the
    disk.

    Args:
        size: bytes of the data files.
    """

    def __init__(self, size: int) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as its readers
        self._end = 0
        self._plain = _PLAIN + 2 * size
        self._kept: dict[bytes, Read] = {}

    def keep(self, data: bytes) -> Read:
        """Store a picture; returns the function that reads it."""
        digest = sha256(data).digest()
        if digest not in self._kept:
            self._kept[digest] = self._write(data)
        return self._kept[digest]

    def _write(self, data: bytes) -> Read:
        packed = zlib.compress(data, 1) if self._end + len(data) > self._plain else data
        is_packed = len(packed) < len(data)
        written = packed if is_packed else data
        try:
            self._file.write(written)
            self._file.flush()
        except OSError as error:
            raise HarnessError(
                f"The pictures cannot be stored in {tempfile.gettempdir()}: {error.strerror}.",
                remedy="Set TMPDIR to a folder with more room.",
            ) from error
        place = self._end
        self._end += len(written)
        return partial(self._unpack if is_packed else self._read, place, len(written))

    def _read(self, place: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, place)

    def _unpack(self, place: int, length: int) -> bytes:
        return zlib.decompress(self._read(place, length))
