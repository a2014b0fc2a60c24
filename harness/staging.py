"""A folder in which the files of an export are made, beside the folder that they are for.

A process that is killed leaves unfinished files behind. In the export's own folder they would be
uploaded with it; beside it they are not, and the next export removes them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A new, empty folder beside `folder`, on the same file system; removed in the end."""
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = folder.parent if _is_beside(folder) else folder
    prefix = f".{folder.name}.{os.uname().nodename}."
    _remove_left(place, prefix)
    made = place / f"{prefix}{os.getpid()}.tmp"
    made.mkdir()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _is_beside(folder: Path) -> bool:
    """Whether what stands beside `folder` can be moved into it: a mounted folder is another file
    system, and the one above it may be another's."""
    if not folder.exists():
        return True
    same = folder.stat().st_dev == folder.parent.stat().st_dev
    return same and os.access(folder.parent, os.W_OK)


def _remove_left(place: Path, prefix: str) -> None:
    """Remove what processes of this machine have left that are no more."""
    for path in place.glob(f"{_literal(prefix)}*.tmp"):
        number = path.name[len(prefix) : -len(".tmp")]
        if number.isdecimal() and (int(number) == os.getpid() or not _is_alive(int(number))):
            shutil.rmtree(path, ignore_errors=True)


def _literal(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True  # another user's; or no number of a process
    return True
