"""Write the reference pages, docs/reference/*.md, from the program: its commands and options, and
the fields of a run folder. `make reference` runs it; a test compares the pages with the program.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any, Literal, get_args, get_origin

import typer
from typer.main import get_command

from harness.core.types import Prediction, Reference, Value
from harness.run import layout, record_fields, records

FOLDER = Path(__file__).parent / "reference"
COMMANDS = """# Commands

Every command and option of `harness`, as the program declares them. `--help` shows the same in a
terminal. A list is given by repeating its option.
"""
RUN_FOLDER = """# Reading a run folder

```text
{layout}
```

Any program can read both JSON files. Fields that are not listed here may be added at any time; read
those that you know. `harness.load_run(folder)` reads all versions from [Python](../python.md).
"""


def pages() -> dict[str, str]:
    """The pages by file name."""
    return {"commands.md": commands_page(), "run-folder.md": run_folder_page()}


def commands_page() -> str:
    """Every command with its options."""
    from harness.cli import app

    parts = [COMMANDS]
    for path, command in _commands(get_command(app), ("harness",)):
        parts.append(f"## {' '.join(path)}\n\n{_text(command.help)}\n")
        parts += [_options(command), *_examples(command)]
    return "\n".join(filter(None, parts))


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A command and those below it, in the order of the help."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from _commands(inner, (*path, name))


def _options(command: Any) -> str:
    """A table of what a command takes."""
    context = command.context_class(command, info_name="harness")
    rows = []
    for parameter in command.get_params(context):
        if parameter.name == "help" or getattr(parameter, "hidden", False):
            continue
        flags = (
            [parameter.metavar or parameter.name.upper()]
            if parameter.param_type_name == "argument"
            else [*parameter.opts, *parameter.secondary_opts]
        )
        names = ", ".join(f"`{flag}`" for flag in flags)
        rows.append((names, _value(parameter), _text(parameter.help)))
    if not rows:
        return ""
    head = "| option | value | meaning |\n|---|---|---|"
    return "\n".join([head, *(f"| {' | '.join(map(_cell, row))} |" for row in rows), ""])


def _value(parameter: Any) -> str:
    """What an option takes and its default."""
    if getattr(parameter, "is_flag", False):
        return "switch"
    kind = parameter.metavar or _kind(parameter.type_descriptor.annotation)
    low, high = getattr(parameter, "min", None), getattr(parameter, "max", None)
    if low is not None or high is not None:
        kind += f", {low} or more" if high is None else f", {low} to {high}"
    if parameter.required:
        return f"{kind}, required"
    default = parameter.default
    shown = default not in (None, "", [], ()) and not callable(default)
    return f"{kind}, default {_default(default)}" if shown else kind


_KINDS = {str: "text", int: "whole number", float: "number", Path: "path", bool: "true or false"}


def _kind(annotation: Any) -> str:
    """A type in words."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(map(str, inside))
    if origin is list:
        return f"{_kind(inside[0])}, repeatable"
    if inside:  # X | None
        return _kind(next(one for one in inside if one is not type(None)))
    return _KINDS.get(annotation, "text")


def _default(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _examples(command: Any) -> Iterator[str]:
    """The examples below a command's help."""
    lines = [line for line in (command.epilog or "").split("\n\n") if line.startswith("harness ")]
    if lines:
        yield "```sh\n" + "\n".join(lines) + "\n```\n"


def _text(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def run_folder_page() -> str:
    """The files of a run, and the fields of their JSON."""
    drawn = inspect.cleandoc(layout.__doc__ or "").split("\n\n")[1]
    parts = [RUN_FOLDER.format(layout=inspect.cleandoc(drawn))]
    parts.append("## run.json\n")
    parts.append(_fields(records.RunRecord))
    for cls in (
        *(records.TaskInfo, records.ModelInfo, records.MetricInfo, records.Counts, Value),
        *(record_fields.Timing, record_fields.Spread, record_fields.PeakMemory),
        *(record_fields.Session, record_fields.Settings, record_fields.Fingerprint),
        record_fields.Environment,
    ):
        parts += [f"### {cls.__name__}\n", _fields(cls)]
    parts += ["## predictions.jsonl\n", "A line for each answer.\n", _fields(Prediction)]
    parts += ["### Reference\n", _fields(Reference)]
    return "\n".join(parts)


def _fields(cls: type) -> str:
    """The fields of a class with their docstrings."""
    about = _text((cls.__doc__ or "").split("\n\n")[0]) if not _is_typed_dict(cls) else ""
    described = _docstrings(cls)
    rows = ["| field | type | meaning |", "|---|---|---|"]
    for name, kind in _annotations(cls).items():
        text = described.get(name, "")
        rows.append(f"| `{name}` | {_cell(kind)} | {_cell(_text(text))} |")
    return "\n".join(([f"{about}\n"] if about else []) + rows + [""])


def _is_typed_dict(cls: type) -> bool:
    return not is_dataclass(cls)


def _annotations(cls: type) -> Mapping[str, str]:
    """Field -> its type as it is written, with the default of an optional one."""
    if _is_typed_dict(cls):
        return {node.target.id: ast.unparse(node.annotation) for node in _nodes(cls)}
    optional = {f.name for f in fields(cls) if f.default is not MISSING}
    written = {node.target.id: ast.unparse(node.annotation) for node in _nodes(cls)}
    return {
        f.name: written[f.name] + (_shown(f.default) if f.name in optional else "")
        for f in fields(cls)
    }


def _shown(default: object) -> str:
    return "" if default in (None, "", ()) else f" = {default}"


def _nodes(cls: type) -> list[Any]:
    """The annotated fields in the source of a class."""
    (tree,) = ast.parse(dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    return [node for node in tree.body if isinstance(node, ast.AnnAssign)]


def _docstrings(cls: type) -> Mapping[str, str]:
    """Field -> the text below it. Fields that share one text have it each."""
    (tree,) = ast.parse(dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[field.target.id] = str(text.value.value)
    return found


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        typer.echo(f"docs/reference/{name}", err=True)


if __name__ == "__main__":
    main()
