"""`--config FILE`: a command's options from a TOML file, and such a file from a command's options.

The keys are the options' names without their dashes (`batch-size = 16`); options that can be
repeated take a list or, where they are written KEY=VALUE, a table. Options on the command line win.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.core.errors import Exit, HarnessError
from harness.core.files.paths import user_path
from harness.core.suggestions import did_you_mean

ALIASES = {
    "tasks": "task",
    "models": "model",
    "num-fewshot": "shots",
    "reader": "extractor",
    "target": "objective",
}
"""What other harnesses, and our own releases before, call an option; not in the help."""
CONFIGURATION = "harness.configuration"
"""Key of `Context.meta`: the file that was read."""
_PASSING = frozenset({"fresh", "json", "dry-run"})
_NOT_CONFIGURED = frozenset({"config", "help"})


def options_of(command: Any) -> dict[str, Any]:
    """The parameters of a command by the names that a configuration gives them."""
    found = {}
    for parameter in command.params:
        flags = [flag for flag in parameter.opts if flag.startswith("--")]
        name = flags[0].removeprefix("--") if flags else str(parameter.name)
        if name not in _NOT_CONFIGURED and parameter.expose_value:
            found[name] = parameter
    return found


def read_configuration(path: Path, command: Any) -> dict[str, Any]:
    """The values that a TOML file has for a command, by the names of its parameters.

    Raises:
        HarnessError: the file cannot be read, is no TOML, or has a key that is no option.
    """
    try:
        text = user_path(path).read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise HarnessError(
            f"--config {path} cannot be read: {error.strerror}.", code=Exit.MISSING
        ) from error
    except ValueError as error:  # of TOML's syntax, or of UTF-8
        raise HarnessError(f"--config {path} is not TOML: {error}.") from error
    options = options_of(command)
    values = {}
    for key, value in document.items():
        name = key.replace("_", "-")
        name = name if name in options else ALIASES.get(name, key)
        if name not in options:
            raise HarnessError(
                f"{path}: {key!r} is not an option of this command.{did_you_mean(name, options)}",
                remedy=f"{_path_of(command)}--help lists them.",
            )
        values[str(options[name].name)] = _value(f"{path}: {key}", value, options[name])
    return values


def _path_of(command: Any) -> str:
    return f"harness {command.name} " if command.name else "harness "


def _value(where: str, value: Any, parameter: Any) -> Any:
    """A TOML value as the command line would give it."""
    several = parameter.multiple or parameter.nargs == -1
    if isinstance(value, Mapping):
        if not several:
            raise HarnessError(f"{where} takes one value, not a table.")
        return [f"{key}={item}" for key, item in value.items()]
    if isinstance(value, list):
        if not several:
            raise HarnessError(f"{where} takes one value, not a list.")
        return list(map(str, value))
    is_switch = bool(getattr(parameter, "is_flag", False))
    if is_switch != isinstance(value, bool):
        wanted = "true or false" if is_switch else "a value, not true or false"
        raise HarnessError(f"{where} takes {wanted}.")
    if is_switch:
        return value
    return [str(value)] if several else str(value)


def configuration_of(context: Any) -> dict[str, Any]:
    """What a command's options came to, defaults included, by the names of the configuration.

    Options that say what to do with a run that is there, or how to print, are no part of it.
    """
    return {name: value for name, value in _resolved(context) if name not in _PASSING}


def _resolved(context: Any) -> Iterator[tuple[str, Any]]:
    for name, parameter in options_of(context.command).items():
        value = _plain(context.params.get(parameter.name))
        if value is not None and value != []:
            yield name, value


def _plain(value: Any) -> Any:
    """As TOML and JSON have it."""
    if isinstance(value, bool | int | float | str) or value is None:
        return getattr(value, "value", value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)


def to_toml(configuration: Mapping[str, Any]) -> str:
    """A TOML document that `--config` reads back to the same options."""
    import tomlkit  # where it is needed, as most commands write none

    return tomlkit.dumps(dict(configuration))


def _read(context: typer.Context, path: Path | None) -> None:
    if path is None:
        return
    values = read_configuration(path, context.command)
    context.default_map = {**(context.default_map or {}), **values}
    context.meta[CONFIGURATION] = str(path)


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file with options by their names (batch-size = 16); options on the command line "
        "win.",
        callback=_read,
        is_eager=True,
        expose_value=False,
    ),
]


def with_configuration(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a command that takes `--config` as well."""

    @wraps(function)
    def configured(*arguments: Any, config: Path | None = None, **options: Any) -> Any:
        del config  # read by then
        return function(*arguments, **options)

    signature = inspect.signature(function, eval_str=True)
    option = inspect.Parameter(
        "config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ConfigOption
    )
    parameters = [*signature.parameters.values(), option]
    configured.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    configured.__annotations__ = {
        **inspect.get_annotations(function, eval_str=True),
        "config": ConfigOption,
    }
    return configured
