"""Open files of unknown origin: a folder from elsewhere can hold pipes, devices and links."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

MAX_JSON_BYTES = 2**28
"""Of a file with one JSON document."""
MAX_JSONL_BYTES = 2**34
"""Of a file with a JSON document on each line."""
MAX_LINE_BYTES = 2**26
"""Of one line of it."""


def open_regular(path: Path, *, within: Path | None = None, limit: int | None = None) -> IO[bytes]:
    """Open a regular file for reading, without waiting for a pipe or a device.

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
    """Read all of a regular file; raises OSError as `open_regular` does."""
    with open_regular(path, within=within, limit=limit) as file:
        data = file.read(limit + 1)
    if len(data) > limit:  # it grew, or its size was not true
        raise OSError(errno.EFBIG, f"it has more than {limit:,} bytes", str(path))
    return data


def read_lines(file: IO[bytes], *, limit: int | None = None) -> Iterator[bytes]:
    """The lines of a file; raises OSError for one of more bytes than `limit`, or than a line of our
    own files may have."""
    most = MAX_LINE_BYTES if limit is None else limit
    while line := file.readline(most + 1):
        if len(line) > most:
            raise OSError(errno.EFBIG, f"it has a line of more than {most:,} bytes")
        yield line
