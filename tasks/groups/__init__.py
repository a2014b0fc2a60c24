"""Groups of tasks: a TOML file names tasks, other groups, and options of single tasks.

    title = "Mine"
    tasks = ["mmstar", "./my_task.py", "./other.toml", "small-vlm"]

    [options.mmstar]
    limit = 200

Those of the package are the files in this folder. Paths are relative to the file that has them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from harness.core.errors import Exit, HarnessError
from harness.core.files.paths import user_path
from harness.core.suggestions import closest, did_you_mean
from harness.core.types import Style
from tasks import TASKS

FOLDER = Path(__file__).parent
SUFFIX = ".toml"
KEYS = ("title", "tasks", "options")
PAGE = "docs/groups.md describes the format."


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A task as a group asks it; what is None or empty is the command's."""

    task: str
    """A name of `harness list tasks`, or the path of a user's own file."""
    data: Path | None = None
    split: str = ""
    limit: int | None = None
    style: Style | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Tasks that are evaluated together."""

    name: str
    title: str
    entries: tuple[Entry, ...]


def names() -> list[str]:
    """The groups that come with the package."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def is_group(name_or_path: str) -> bool:
    """Whether `--task` means a group."""
    return name_or_path.endswith(SUFFIX) or name_or_path in names()


def load_group(name_or_path: str) -> Group:
    """The group of that name, or of a TOML file such as `./mine.toml`.

    Raises:
        HarnessError: there is none, or it does not say what a group says.
    """
    return _read(_file_of(name_or_path), ())


def expand(given: Sequence[str]) -> list[Entry]:
    """The tasks that `--task` names, groups by their tasks, in order, each once.

    Raises:
        HarnessError: a name is none of a task or group, or two groups ask a task in two ways.
    """
    found: dict[str, Entry] = {}
    for name in given:
        for entry in load_group(name).entries if is_group(name) else [_task(name)]:
            if found.setdefault(entry.task, entry) != entry:
                raise HarnessError(
                    f"--task {entry.task} is given twice, with other options in {name}."
                )
    return list(found.values())


def _task(name: str) -> Entry:
    """A single task; raises HarnessError where a group was meant."""
    if name not in TASKS and not name.endswith(".py"):
        near = closest(name, [*TASKS, *names()])
        if near in names():
            raise HarnessError(
                f"There is no task or group {name!r}.", remedy=f"Did you mean {near}?"
            )
    return Entry(task=name)


def _file_of(name_or_path: str) -> Path:
    return (
        user_path(name_or_path)
        if name_or_path.endswith(SUFFIX)
        else FOLDER / f"{name_or_path}{SUFFIX}"
    )


def _read(path: Path, within: tuple[Path, ...]) -> Group:
    """The group in a file that is named by the files `within` which it is."""
    real = path.resolve()
    if real in within:
        raise HarnessError(f"{path} names itself, by {within[-1]}.", remedy="Leave it out there.")
    document = _document(path)
    for key in document:
        if key not in KEYS:
            raise HarnessError(
                f"{path}: {key!r} is nothing that a group has.{did_you_mean(key, KEYS)}",
                known=f"It has {', '.join(KEYS)}.",
                remedy=PAGE,
            )
    listed = document.get("tasks")
    if not isinstance(listed, list) or not listed or not all(isinstance(n, str) for n in listed):
        raise HarnessError(f"{path}, tasks: must be a list of names and paths.", remedy=PAGE)
    title = document.get("title", path.stem)
    if not isinstance(title, str):
        raise HarnessError(f"{path}, title: must be a text.", remedy=PAGE)
    entries = [entry for name in listed for entry in _entries(name, path, (*within, real))]
    return Group(
        name=path.stem,
        title=title,
        entries=tuple(_with_options(entries, document.get("options", {}), path)),
    )


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HarnessError(
            f"The group {path} cannot be read: {error.strerror}.", code=Exit.MISSING
        ) from error
    except ValueError as error:  # of TOML's syntax, or of UTF-8
        raise HarnessError(f"{path} is not TOML: {error}.", remedy=PAGE) from error


def _entries(name: str, path: Path, within: tuple[Path, ...]) -> Iterator[Entry]:
    """What a name or a path in the list of a file means."""
    if name.endswith(SUFFIX):
        yield from _read(_next_to(name, path), within).entries
    elif name.endswith(".py"):
        yield Entry(task=str(_next_to(name, path)))
    elif name in TASKS:
        yield Entry(task=name)
    elif name in names():
        yield from _read(_file_of(name), within).entries
    else:
        near = closest(name, [*TASKS, *names()])
        raise HarnessError(
            f"{path}, tasks: there is no task or group {name!r}.",
            remedy=f"Did you mean {near}?" if near else "harness list tasks shows what there is.",
        )


def _next_to(name: str, path: Path) -> Path:
    """A path in a file, relative to the file's folder."""
    return path.parent / Path(name).expanduser()


def _with_options(entries: Sequence[Entry], options: object, path: Path) -> Iterator[Entry]:
    """The entries, each once, with the options that the file has for them."""
    if not isinstance(options, Mapping):
        raise HarnessError(f"{path}, options: must be a table by task.", remedy=PAGE)
    once = {entry.task: entry for entry in reversed(entries)}
    known = {name: str(_next_to(name, path)) if name.endswith(".py") else name for name in options}
    for name, task in known.items():
        if task not in once:
            raise HarnessError(
                f"{path}, options.{name}: it is no task of this group.{did_you_mean(name, once)}"
            )
    changes = {
        known[name]: _options(f"{path}, options.{name}", options[name], path) for name in options
    }
    for task in dict.fromkeys(entry.task for entry in entries):
        yield replace(once[task], **changes.get(task, {}))


def _options(where: str, values: object, path: Path) -> dict[str, Any]:
    """The fields of an `Entry` that a table sets."""
    if not isinstance(values, Mapping):
        raise HarnessError(f"{where}: must be a table, such as limit = 200.", remedy=PAGE)
    fits = {
        "data": lambda v: isinstance(v, str) and v != "",
        "split": lambda v: isinstance(v, str) and v != "",
        "limit": lambda v: isinstance(v, int) and not isinstance(v, bool) and v > 0,
        "style": lambda v: v in get_args(Style),
    }
    for key, value in values.items():
        if key not in fits:
            raise HarnessError(
                f"{where}: {key!r} is no option of a task.{did_you_mean(key, fits)}",
                known=f"The options are {', '.join(fits)}.",
                remedy=PAGE,
            )
        if not fits[key](value):
            allowed = f" It is one of {', '.join(get_args(Style))}." if key == "style" else ""
            raise HarnessError(f"{where}, {key}: {value!r} does not fit.{allowed}", remedy=PAGE)
    made = dict(values)
    return made | {"data": _next_to(made["data"], path)} if "data" in made else made
