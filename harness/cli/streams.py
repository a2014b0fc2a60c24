"""stdout and stderr that outlive whoever reads them.

A closed stream, a reader that has gone, or a full disk behind `2>log` never stops a run: what
cannot be written is dropped. Dropped results are reported at the end, by the exit code too; dropped
logs and progress are not.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from typing import Any

STDIN, STDOUT, STDERR = range(3)


class _Lasting(io.FileIO):
    """A file whose writes never fail; `failure` keeps the first error."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        if self.failure is None:
            try:
                while (written := super().write(data)) is None:  # a pipe that does not block, full
                    select.select([], [self], [])
                return written
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes


@contextlib.contextmanager
def lasting() -> Iterator[_Lasting]:
    """Replace both streams by such ones for a while; yields the file of stdout."""
    _occupy()
    before = sys.stdout, sys.stderr
    out, err = _Lasting(STDOUT, "wb", closefd=False), _Lasting(STDERR, "wb", closefd=False)
    if before[0] is None:
        out.failure = OSError(errno.EBADF, os.strerror(errno.EBADF))
    sys.stdout, sys.stderr = _text(out, before[0]), _text(err, before[1])
    try:
        yield out
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


def _occupy() -> None:
    """Put the null device where a stream is closed: the next file to be opened, one of answers
    perhaps, would take its number, and what libraries print would go into it."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(number, True)
    os.close(number)


def _text(file: _Lasting, like: Any) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=getattr(like, "encoding", None) or "utf-8",
        errors="backslashreplace",  # a terminal that cannot show it all
        line_buffering=file.fileno() == STDERR or file.isatty(),
    )
