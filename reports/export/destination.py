"""Where an export goes: a file, or a folder whose other files are never replaced."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from harness.core.errors import HarnessError
from harness.core.files.atomic import remove_leftovers, write_atomically
from harness.core.files.json_files import load_json
from harness.core.files.staging import staging
from reports.export.run_files import File, text_file

OURS = ".harness-export.json"
"""In a folder that was exported to: the files that are ours to replace."""


def write_document(path: Path, text: str) -> None:
    """Write the one file of a table format."""
    if path.exists() and not path.is_file():  # a device would be replaced by a file
        raise _unwritable(path, "it is no file")
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise _unwritable(path, error.strerror) from error


def write_folder(folder: Path, make: Callable[[], Iterable[File]]) -> tuple[Path, ...]:
    """Write the files into `folder`. A file that is there already is replaced only if an export
    wrote it; otherwise nothing at all is written.

    `make` is called twice, for the names and for the files: their answers are never all in memory.
    """
    if folder.exists() and not folder.is_dir():
        raise _unwritable(folder, "it is no folder")
    names = [file.path for file in make()]
    ours = _ours(folder)
    for name in names:
        path = folder / name
        if name not in ours and (path.exists() or path.is_symlink()):
            raise HarnessError(
                f"{path} is there already, and no export wrote it.",
                known="Nothing was written.",
                remedy="Name another folder with --out, or move that file away.",
            )
    if not names:
        return ()
    for path in [folder / name for name in ours]:
        remove_leftovers(path.parent, {path.name})  # nothing is uploaded that a killed export left
    listed = {"files": sorted({*ours, *names})}
    files = itertools.chain([text_file(OURS, json.dumps(listed, indent=1) + "\n")], make())
    try:
        with staging(folder) as aside:
            for number, file in enumerate(files):
                made = aside / str(number)
                write_atomically(made, file.pieces())
                (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
                made.replace(folder / file.path)
    except OSError as error:
        raise _unwritable(folder, error.strerror) from error
    return tuple(folder / name for name in names)


def _ours(folder: Path) -> set[str]:
    """The files in `folder` that an export wrote, by their paths in it."""
    try:
        listed = load_json(folder / OURS)["files"]
        return {str(PurePosixPath(path)) for path in listed}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _unwritable(out: Path, reason: str | None) -> HarnessError:
    return HarnessError(
        f"{out} cannot be written: {reason}.", remedy="Name another place with --out."
    )
