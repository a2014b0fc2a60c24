"""A folder in which the files of an export are made, next to the folder that they are for.

A process that is killed leaves unfinished files. In the export's own folder they would be uploaded
with it; next to it they are not, and the next export removes them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from harness.core.files.atomic import temporary_folder


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Make an empty folder next to `folder`, on the same file system; it is removed at the end."""
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = folder.parent if _shares_file_system(folder) else folder
    with temporary_folder(place / folder.name) as made:
        yield made


def _shares_file_system(folder: Path) -> bool:
    """Whether files next to `folder` can be moved into it: a mounted folder is another file system,
    and the folder above it may not be writable."""
    if not folder.exists():
        return True
    same = folder.stat().st_dev == folder.parent.stat().st_dev
    return same and os.access(folder.parent, os.W_OK)
