"""Paths as a user writes them."""

from __future__ import annotations

import os
from pathlib import Path

from harness.core.errors import HarnessError


def user_path(path: str | Path) -> Path:
    """The path that a user means: `~` and `~NAME` at its beginning are home folders.

    Raises:
        HarnessError: there is no user of that name, and nothing here is called so either.
    """
    found = os.path.expanduser(path)  # noqa: PTH111  # Path's own raises for an unknown user
    first = found.split("/")[0]
    if first.startswith("~") and not os.path.lexists(first):
        raise HarnessError(
            f"{path}: there is no user {first[1:]!r}.",
            remedy=f"For a new folder of that name: {Path.cwd() / found}",
        )
    return Path(found)
