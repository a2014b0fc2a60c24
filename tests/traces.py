"""What tests leave behind, and which of them start a process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHES = {".cache", ".git", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".venv"}
CACHES |= {"__pycache__"}


def files(folder: Path = ROOT) -> set[Path]:
    """Every file and folder of the checkout, caches apart."""
    found: set[Path] = set()
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in CACHES]
        found |= {Path(here, name) for name in (*folders, *names)}
    return found


def difference(before: set[Path], after: set[Path]) -> list[str]:
    """What is new or gone, by its path in the checkout. Whoever edits meanwhile is left alone."""
    return [
        path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)
        for path in sorted(before ^ after)
    ]


started: list[str] = []
"""Programs that were started and processes that were forked since someone emptied it."""


def watch() -> None:
    """Note from now on what this process starts; for good, as no audit hook can be removed."""
    programs = (Path(sys.prefix, "bin"), Path(sys.executable).resolve().parent)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in {"os.fork", "tests.commands.start"}:
            started.append(event)
        elif event == "subprocess.Popen":
            # git, which records of runs ask for the commit, is not what takes long.
            program = Path(os.fsdecode(arguments[0] or arguments[1][0]))  # type: ignore[arg-type,index]
            if program.parent in programs:
                started.append(str(program))

    sys.addaudithook(hook)
