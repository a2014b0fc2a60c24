"""Export synthetic questions as a data folder: JSONL and pictures, as `--data` reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.files.atomic import write_atomically
from harness.synthetic.questions import Item
from harness.synthetic.schema import fields, png


def export(folder: Path, split: str, items: Iterable[Item]) -> Path:
    """Write `SPLIT.jsonl` and `images/SPLIT/` into a folder; returns the file.

    The rows are written last: a folder whose export was interrupted has none.

    Raises:
        HarnessError: the split is there already, or the folder cannot be written.
    """
    file = folder / f"{split}.jsonl"
    if file.exists():
        raise HarnessError(f"{file} is there already.", remedy="Name another folder.")
    try:
        return _write(folder, file, f"images/{split}", items)
    except OSError as error:
        raise HarnessError(f"{folder} cannot be written: {error.strerror}.") from error


def _write(folder: Path, file: Path, images: str, items: Iterable[Item]) -> Path:
    (folder / images).mkdir(parents=True, exist_ok=True)
    lines = []
    for item in items:
        name = f"{images}/{item.id}.png"
        (folder / name).write_bytes(png(item))
        lines.append(json.dumps({"image": name, **fields(item)}).encode() + b"\n")
    write_atomically(file, lines)
    return file
