"""Locks that processes agree on through files; this module alone asks the kernel for them.

A lock ends with its process, however the process ends. File systems without locks exist: whoever
can do without one suppresses OSError.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from harness.core.errors import HarnessError


class InUse(HarnessError):  # noqa: N818  # a state, not a mistake
    """Another process holds the lock."""


@contextlib.contextmanager
def locked(
    path: Path,
    *,
    doing: str = "writing to",
    instead: str = "choose another folder",
    shared: bool = False,
    wait: bool = False,
) -> Iterator[IO[bytes]]:
    """Hold the lock file `path`, which is created with its folder; yields the open file.

    Args:
        doing: what its holders do in its folder, for the error.
        instead: what else a user can do.
        shared: hold it together with others that share it.
        wait: wait for those who hold it now instead of raising InUse.

    Raises:
        InUse: another process holds it.
        HarnessError: the folder cannot be written.
    """
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b")  # noqa: SIM115  # the next statement is `with`
    except OSError as error:
        raise HarnessError(
            f"{folder} cannot be written: {error.strerror}.",
            remedy=f"{instead[:1].upper()}{instead[1:]}.",
        ) from error
    with file:
        try:
            lock(file.fileno(), shared=shared, wait=wait)
        except BlockingIOError:
            raise InUse(
                f"Another process is {doing} {folder}.", remedy=f"Wait for it, or {instead}."
            ) from None
        _held.add(file)
        try:
            yield file
        finally:
            _held.discard(file)


def lock(descriptor: int, *, shared: bool = False, wait: bool = True) -> None:
    """Lock an open file until it is closed.

    Raises:
        BlockingIOError: another process holds it, and `wait` is false.
        OSError: the file system has no locks.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)


class ByteLocks:
    """Locks on the single bytes of one file: each byte is held by at most one process."""

    def __init__(self, path: Path) -> None:
        # These locks end when the process closes the file anywhere: it is opened once.
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def take(self, place: int) -> bool:
        """Lock the byte at `place`; False where another process holds it."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place, os.SEEK_SET)
        except (BlockingIOError, PermissionError):  # either, by operating system
            return False
        return True

    def close(self) -> None:
        """Release every byte."""
        os.close(self._file)


_held: set[IO[bytes]] = set()
"""The lock files that this process holds."""


def _release() -> None:
    """A forked process (a worker that prepares questions, say) would hold the locks of its parent
    after the parent is killed."""
    for file in _held:
        file.close()
    _held.clear()


os.register_at_fork(after_in_child=_release)
