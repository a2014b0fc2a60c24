"""A folder in which the files of an export are made, beside the folder that they are for.

A process that is killed leaves unfinished files behind. In the export's own folder they would be
uploaded with it; beside it they are not, and the next export removes them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from harness.core.files.atomic import temporary_folder


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A new, empty folder beside `folder`, on the same file system; removed in the end."""
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = folder.parent if _is_beside(folder) else folder
    with temporary_folder(place / folder.name) as made:
        yield made


def _is_beside(folder: Path) -> bool:
    """Whether what stands beside `folder` can be moved into it: a mounted folder is another file
    system, and the one above it may be another's."""
    if not folder.exists():
        return True
    same = folder.stat().st_dev == folder.parent.stat().st_dev
    return same and os.access(folder.parent, os.W_OK)
