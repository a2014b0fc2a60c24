"""The command line's own `Typer`: no command runs on a release of transformers that is not tested,
every path that a user writes may begin with `~`, options are known by other harnesses' names too,
and a configurable command takes `--config`.

A shell expands `~` at the beginning of a word, but not behind `--runs=`, in quotes, or where no
shell is in between. Typer makes a `Path` of such a value as it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from harness.cli.configuration import with_configuration
from harness.cli.signature import expanded
from harness.cli.usage import clear_errors
from harness.core.files.paths import user_path
from harness.core.versions import require_tested_transformers


def _expanded(value: Any) -> Any:
    if isinstance(value, Path):
        return user_path(value)
    if isinstance(value, list | tuple):
        return type(value)(map(_expanded, value))
    return value


ALIASES = {"--tasks": "--task", "--models": "--model", "--num-fewshot": "--shots"}
"""What other harnesses call an option; they work and are not in the help."""


def _by_our_names(command: Any, arguments: list[str]) -> list[str]:
    """The arguments with the aliases that `command` has an option for spelt as that option."""
    known = {flag for parameter in command.params for flag in parameter.opts}
    renamed: list[str] = []
    for place, argument in enumerate(arguments):
        if argument == "--":
            return renamed + arguments[place:]
        flag, equals, value = argument.partition("=")
        ours = ALIASES.get(flag)
        renamed.append(f"{ours}{equals}{value}" if ours in known else argument)
    return renamed


def _switches_bare(parameters: list[Any]) -> list[Any]:
    """Parameters of which a switch has no word for its value in the help."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


class Command(TyperCommand):
    """A command that gets its paths expanded."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _switches_bare(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _by_our_names(self, args))

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with clear_errors():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        require_tested_transformers()  # here, for --help to come whatever is installed
        ctx.params = {name: _expanded(value) for name, value in ctx.params.items()}
        return super().invoke(ctx)


class Group(TyperGroup):
    """The same for commands that have commands below them."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _switches_bare(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _by_our_names(self, args))

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with clear_errors():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        ctx.params = {name: _expanded(value) for name, value in ctx.params.items()}
        with clear_errors():
            return super().invoke(ctx)


class App(typer.Typer):
    """A Typer whose commands are of these kinds."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Group, **settings)

    def command(
        self, name: str | None = None, *, configurable: bool = False, **settings: Any
    ) -> Callable[..., Any]:
        """Register a command; a configurable one takes its options from `--config` too."""
        register = super().command(name, cls=Command, **settings)
        return _expanded_first(register, configurable=configurable)

    def callback(self, *, configurable: bool = False, **settings: Any) -> Callable[..., Any]:
        """Register what the group itself does; configurable as in `command`."""
        register = super().callback(cls=Group, **settings)
        return _expanded_first(register, configurable=configurable)


def _expanded_first(
    register: Callable[..., Any], *, configurable: bool
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a command by the options that its parameters declare."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        command = expanded(function)
        register(with_configuration(command) if configurable else command)
        return function

    return decorate
