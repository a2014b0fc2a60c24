"""Paths as a user writes them, and folder names for the labels of models and tasks."""

from __future__ import annotations

import os
import re
import unicodedata
from hashlib import sha256
from pathlib import Path

from harness.core.errors import HarnessError


def user_path(path: str | Path) -> Path:
    """Expand `~` and `~NAME` at the beginning of a path as home folders.

    Raises:
        HarnessError: there is no user of that name, and no file here has it either.
    """
    found = os.path.expanduser(path)  # noqa: PTH111  # Path's own raises for an unknown user
    first = found.split("/")[0]
    if first.startswith("~") and not os.path.lexists(first):
        raise HarnessError(
            f"{path}: there is no user {first[1:]!r}.",
            remedy=f"For a new folder of that name: {Path.cwd() / found}",
        )
    return Path(found)


def safe_name(label: str) -> str:
    """Make a folder name from a model's or a task's label: never a path, hidden or empty.

    Letters, marks and numbers of every script are kept. A label that has to change gets a short
    hash, so that two labels never share a name.
    """
    whole = unicodedata.normalize("NFC", label)
    kept = "".join(c if c in "_.+-" or unicodedata.category(c)[0] in "LMN" else " " for c in whole)
    name = "-".join(kept.split()).strip(".-")
    if whole and name == whole and len(os.fsencode(name)) <= _MAX_NAME and not _HASHED.search(name):
        return name
    while len(os.fsencode(name)) > _MAX_NAME:
        name = name[:-1]
    digest = sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name.rstrip('.-') or 'unnamed'}-{digest[:8]}"


_MAX_NAME = 100
"""Bytes of a folder's name without its hash: file systems allow 255."""
_HASHED = re.compile("-[0-9a-f]{8}$")
"""The end of a name with a hash; a label that ends so gets one of its own."""
