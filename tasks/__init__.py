"""The tasks: one file each. This module finds them by name, and users' own by path.

Reading it imports no task; a task imports what is heavy when it loads its data.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import os
import sys
import traceback
from importlib.abc import SourceLoader
from pathlib import Path
from types import MappingProxyType, ModuleType

from harness.errors import HarnessError
from harness.types import Task

TASKS = MappingProxyType(
    {
        "scienceqa": "Science questions with options, most with a picture (Lu et al., 2022)",
        "vqaonline": "Questions people asked online, with long answers (Chen et al., 2023)",
    }
)
"""Name, which is also the module's, -> what it is."""


def load_task(name_or_path: str) -> Task:
    """The task of that name, or the `TASK` of a Python file such as `./mine.py`.

    A file is the user's own and is executed, under a name that hides no other module.

    Raises:
        HarnessError: there is no such task or file, or the file does not define a task.
    """
    if name_or_path in TASKS:
        return _task_in(importlib.import_module(f"tasks.{name_or_path}"), name_or_path)
    if name_or_path.endswith(".py"):
        return _task_in(_execute(Path(name_or_path).expanduser()), name_or_path)
    close = difflib.get_close_matches(name_or_path, TASKS, n=1)
    raise HarnessError(
        f"There is no task {name_or_path!r}.",
        known=f"The tasks are {', '.join(TASKS)}.",
        remedy=f"Did you mean {close[0]}?" if close else "A task of your own is a path: ./mine.py",
    )


def _task_in(module: ModuleType, label: str) -> Task:
    task = getattr(module, "TASK", None)
    if isinstance(task, Task):
        return task
    problem = "defines no TASK" if task is None else f"has a {type(task).__name__} as its TASK"
    raise HarnessError(f"{label} {problem}.", remedy="Define TASK = harness.types.Task(...) in it.")


class _Source(SourceLoader):
    """A Python file that is read anew each time, and beside which no bytecode is left."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get_filename(self, fullname: str) -> str:  # noqa: ARG002  # one file, whatever its name
        return str(self._path)

    def get_data(self, path: str) -> bytes:
        return Path(path).read_bytes()


def _execute(path: Path) -> ModuleType:
    if not path.is_file():
        raise HarnessError(f"There is no task file {path}.", remedy="Name one: --task ./mine.py")
    loader = _Source(path)
    digest = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()
    module = ModuleType(f"_task_{digest[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        del sys.modules[module.__name__]
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        raise HarnessError(f"{path}, line {_line(error, path)}: {what}.") from error
    return module


def _line(error: BaseException, path: Path) -> int:
    """The line of the file in which the error arose."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    frames = traceback.extract_tb(error.__traceback__)
    numbers = [frame.lineno for frame in frames if frame.filename == str(path)]
    return (numbers[-1] if numbers else None) or 1
