"""Move what is in the way of a restart into a folder of its own."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from harness.core.errors import HarnessError


def set_aside(paths: Iterable[Path], name: Path) -> Path | None:
    """Move those of `paths` that are there into a new folder, `name` and the time; returns it.

    None: nothing is there.
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
    raise HarnessError(f"No free name beside {name}.")
