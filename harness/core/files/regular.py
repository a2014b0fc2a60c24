"""Opening files of unknown origin: a folder from elsewhere can hold pipes, devices and links."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

MAX_RECORD = 2**28
"""Bytes of a file with one JSON document."""
MAX_ROWS = 2**34
"""Bytes of a file with a document on each line."""
_MAX_LINE = 2**26


def open_regular(path: Path, *, within: Path | None = None, limit: int | None = None) -> IO[bytes]:
    """A regular file for reading, without waiting for one that is none.

    Args:
        within: the folder that a link may not lead out of; None: links are followed.
        limit: bytes that the file may have; None: any number.

    Raises:
        OSError: `strerror` says why the file is not read.
    """
    if within is not None:
        boundary, real = os.path.realpath(within), os.path.realpath(path)
        if os.path.commonpath([boundary, real]) != boundary:
            raise OSError(errno.ELOOP, "it is a link that leads out of its folder", str(path))
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    problem = ""
    if not stat.S_ISREG(status.st_mode):
        problem = "it is not a regular file"
    elif limit is not None and status.st_size > limit:
        problem = f"it has {status.st_size:,} bytes, and at most {limit:,} are read"
    if problem:
        os.close(descriptor)
        raise OSError(errno.EINVAL, problem, str(path))
    return open(descriptor, "rb")


def read_regular(path: Path, *, limit: int, within: Path | None = None) -> bytes:
    """All of a regular file; raises OSError as `open_regular` does."""
    with open_regular(path, within=within, limit=limit) as file:
        data = file.read(limit + 1)
    if len(data) > limit:  # it grew, or its size was not true
        raise OSError(errno.EFBIG, f"it has more than {limit:,} bytes", str(path))
    return data


def read_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file; raises OSError for one that is too long to be a document of ours."""
    while line := file.readline(_MAX_LINE + 1):
        if len(line) > _MAX_LINE:
            raise OSError(errno.EFBIG, f"it has a line of more than {_MAX_LINE:,} bytes")
        yield line
