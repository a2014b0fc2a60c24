"""Move the results of an earlier run to a folder of their own, so that it can restart."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from harness.core.errors import HarnessError


def set_aside(paths: Iterable[Path], name: Path) -> Path | None:
    """Move those of `paths` that exist into a new folder, called `name` and the time.

    Returns:
        The folder; None where none of them exists.
    """
    there = [path for path in paths if path.exists()]
    if not there:
        return None
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        aside = name.with_name(f"{name.name}.{stamp}" + f"-{number}" * bool(number))
        if not aside.exists():
            aside.mkdir()
            for path in there:
                path.rename(aside / path.name)
            return aside
    raise HarnessError(f"No free name next to {name}.")
