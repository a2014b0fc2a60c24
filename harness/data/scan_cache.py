"""Scans of pictures, kept between runs, so that a run of one question does not read all pictures.

A scan is found by the states of all its pictures (`ImageRef.state`), which change whenever a
picture's bytes do. Where a picture has none, nothing is kept.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from harness.core import images as decoding
from harness.core.files.atomic import write_atomically
from harness.core.files.caches import cache_folder
from harness.core.files.json_files import load_json
from harness.core.images import ImageRef

Scanned = tuple[str, bool | None]
"""The digest of a picture, and its `flat_by_transparency`."""

_NO_CACHE = (OSError, RuntimeError)
"""Raised where it is not there, cannot be written to, or nobody knows the user's home."""
_MAX_KEPT = 64
"""Scans; the oldest are removed."""


def key_of(images: Sequence[ImageRef]) -> str | None:
    """What a scan of these pictures is found by; None: reading them is the only way to know."""
    import PIL

    code = sha256(Path(decoding.__file__).read_bytes()).hexdigest()
    total = sha256(json.dumps([1, PIL.__version__, code]).encode())
    for image in images:
        state = image.state and image.state()
        if not state:
            return None
        total.update(json.dumps([state, image.transparency]).encode())
    return total.hexdigest() if images else None


def load(key: str, number: int) -> list[Scanned] | None:
    """The scan of `number` pictures, in their order; None where none is kept."""
    try:
        rows = load_json(_path(key))
    except (*_NO_CACHE, ValueError):
        return None
    if not isinstance(rows, list) or len(rows) != number or not all(map(_is_scanned, rows)):
        return None
    return [(digest, flat) for digest, flat in rows]


def _is_scanned(row: object) -> bool:
    match row:
        case [str(), None | bool()]:
            return True
    return False


def keep(key: str, rows: Sequence[Scanned]) -> None:
    """Keep a scan, where the cache can be written to and every picture could be read."""
    if not all(digest for digest, _ in rows):
        return
    with contextlib.suppress(*_NO_CACHE):
        path = _path(key)
        write_atomically(path, json.dumps(rows).encode())
        kept = sorted(path.parent.glob("*.json"), key=lambda file: file.stat().st_mtime)
        for old in kept[:-_MAX_KEPT]:
            old.unlink(missing_ok=True)


def _path(key: str) -> Path:
    return cache_folder("pictures") / f"{key}.json"
