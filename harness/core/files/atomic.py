"""Files and folders that are there whole or not at all, and what a killed writer leaves of them.

Everything is written aside, under a hidden name, and renamed when it is whole. Its writer holds a
lock on it, which the kernel lets go when the process ends, however it ends: what nobody holds is
left over, and the next writer in the same folder removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO

_ASIDE = ".harness.tmp"
_HOST = os.uname().nodename


def write_atomically(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write aside, fsync, rename: a reader sees the old bytes or the new ones.

    Args:
        data: the bytes, or pieces of them in order.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent, {path.name})
    aside = _aside(path)
    try:
        with named(path), _held_file(aside) as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
            aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, to be renamed to it when it is whole; one that is still there at
    the end is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent, {path.name})
    aside = _aside(path)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    held = os.open(aside, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield aside
    finally:
        os.close(held)
        shutil.rmtree(aside, ignore_errors=True)


def sweep(folder: Path, names: Collection[str] = ()) -> None:
    """Remove what killed writers left in `folder`.

    Args:
        names: files and folders that are written there: of these also what an older version left,
            which held no lock, if its process is no more.
    """
    older = [re.compile(rf"\.{re.escape(name)}\.{re.escape(_HOST)}\.(\d+)\.tmp") for name in names]
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = [match[1] for each in older if (match := each.fullmatch(entry.name))]
            if entry.name.endswith(_ASIDE) or any(not _is_alive(int(number)) for number in found):
                _remove(Path(entry.path))


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """The error of a full disk names no file; this one does."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def _aside(path: Path) -> Path:
    # Processes of several machines may write the same file.
    return path.with_name(f".{path.name}.{_HOST}.{os.getpid()}{_ASIDE}")


@contextlib.contextmanager
def _held_file(aside: Path) -> Iterator[IO[bytes]]:
    """A new file, locked; another process may have removed it before it was."""
    file = open(aside, "wb")  # noqa: SIM115  # closed below
    while True:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if _is_at(file, aside):
            break
        file.close()
        file = open(aside, "wb")  # noqa: SIM115
    with file:
        yield file


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether the open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _is_alive(process: int) -> bool:
    """Whether there is such a process; this one leaves nothing under an older name."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True  # another user's; or no number of a process
    return process != os.getpid()


def _remove(path: Path) -> None:
    """Remove a file or a folder, unless its writer holds it, or locks cannot be had here."""
    with contextlib.suppress(OSError):
        held = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if stat.S_ISDIR(os.fstat(held).st_mode):
                shutil.rmtree(path)
            else:
                path.unlink()
        finally:
            os.close(held)
