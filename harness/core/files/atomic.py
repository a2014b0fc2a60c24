"""Write files and folders so that they exist whole or not at all; remove what killed writers left.

Everything is written under a hidden name next to its place and renamed when it is whole. Its writer
holds a lock on it until then: what nobody holds is left over, and the next writer in the same
folder removes it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO

from harness.core.files.locks import lock

_TEMPORARY = ".harness.tmp"
_HOST = os.uname().nodename


def write_atomically(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write to a temporary file, fsync, rename: a reader sees the old bytes or the new ones.

    Args:
        data: the bytes, or pieces of them in order.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, {path.name})
    temporary = _temporary_path(path)
    try:
        with naming(path), _held_file(temporary) as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Make a new folder next to `path`, to be renamed to it when it is whole; it is removed at the
    end if it still exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, {path.name})
    temporary = _temporary_path(path)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    held = os.open(temporary, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            lock(held, wait=False)
        yield temporary
    finally:
        os.close(held)
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path, names: Collection[str] = ()) -> None:
    """Remove what killed writers left in `folder`.

    Args:
        names: files and folders that are written there. Of these, what an older version left is
            removed too: it held no lock, so its process must have ended.
    """
    older = [re.compile(rf"\.{re.escape(name)}\.{re.escape(_HOST)}\.(\d+)\.tmp") for name in names]
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = [match[1] for each in older if (match := each.fullmatch(entry.name))]
            if entry.name.endswith(_TEMPORARY) or any(
                not _is_alive(int(number)) for number in found
            ):
                _remove(Path(entry.path))


def publish_folder(made: Path, path: Path) -> None:
    """Rename the folder `made` to `path`, all of it fsynced; what is there is replaced."""
    for written in (*made.iterdir(), made):
        _fsync(written)
    if path.exists():
        shutil.rmtree(path)
    made.rename(path)
    _fsync(path.parent)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in an OSError: that of a full disk does not."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def _temporary_path(path: Path) -> Path:
    # Processes of several machines may write the same file.
    return path.with_name(f".{path.name}.{_HOST}.{os.getpid()}{_TEMPORARY}")


@contextlib.contextmanager
def _held_file(temporary: Path) -> Iterator[IO[bytes]]:
    """Open a new file and lock it; another process may remove it before it is locked."""
    file = open(temporary, "wb")  # noqa: SIM115  # closed below
    while True:
        with contextlib.suppress(OSError):  # a file system without locks
            lock(file.fileno())
        if _is_at(file, temporary):
            break
        file.close()
        file = open(temporary, "wb")  # noqa: SIM115
    with file:
        yield file


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether the open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _is_alive(process: int) -> bool:
    """Whether another process of this number runs: this one leaves nothing under an older name."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True  # another user's, or not a process number
    return process != os.getpid()


def _remove(path: Path) -> None:
    """Remove a file or a folder, unless its writer holds it or the file system has no locks."""
    with contextlib.suppress(OSError):
        held = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            lock(held, wait=False)
            if stat.S_ISDIR(os.fstat(held).st_mode):
                shutil.rmtree(path)
            else:
                path.unlink()
        finally:
            os.close(held)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
