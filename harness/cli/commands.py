"""The command line's own `Typer`: no command runs on a release of transformers that is not tested,
every path that a user writes may begin with `~`, options are known by other harnesses' names too,
and a configurable command takes `--config`.

A shell expands `~` at the beginning of a word, but not after `--runs=`, in quotes, or where no
shell is in between. Typer makes a `Path` of such a value as it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info
from typer.models import CommandInfo

from harness.cli.configuration import ALIASES, with_configuration
from harness.cli.signature import expanded
from harness.cli.usage import clear_errors
from harness.core.files.paths import user_path
from harness.core.versions import require_tested_releases


def _expanded(value: Any) -> Any:
    if isinstance(value, Path):
        return user_path(value)
    if isinstance(value, list | tuple):
        return type(value)(map(_expanded, value))
    return value


_FLAGS = {f"--{name}": f"--{ours}" for name, ours in ALIASES.items()}


def _by_our_names(command: Any, arguments: list[str]) -> list[str]:
    """The arguments with the aliases that `command` has an option for spelt as that option."""
    known = {flag for parameter in command.params for flag in parameter.opts}
    renamed: list[str] = []
    for place, argument in enumerate(arguments):
        if argument == "--":
            return renamed + arguments[place:]
        flag, equals, value = argument.partition("=")
        ours = _FLAGS.get(flag)
        renamed.append(f"{ours}{equals}{value}" if ours in known else argument)
    return renamed


@cache
def _whole(function: Callable[..., Any], *, configurable: bool) -> Any:
    """The command that typer makes of a function, with all its options."""
    taken = expanded(function)
    info = CommandInfo(callback=with_configuration(taken) if configurable else taken)
    return get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)


class _Declared:
    """What commands and groups share: options that are made when they are first asked for, as
    `harness --help` lists all commands and needs the options of none."""

    function: ClassVar[Callable[..., Any] | None] = None
    """Its parameters declare the options; None: there are none."""
    configurable: ClassVar[bool] = False
    """Whether `--config` is one of them."""
    name: Any
    callback: Any
    _params: list[Any] | None = None

    @property
    def params(self) -> list[Any]:
        if self._params is None:
            self._params = [] if self.function is None else self._built(self.function)
        return self._params

    @params.setter
    def params(self, found: list[Any]) -> None:
        """Leave out what typer finds: it is given a function without parameters."""

    def _built(self, function: Callable[..., Any]) -> list[Any]:
        whole = _whole(function, configurable=self.configurable)
        self.callback = whole.callback
        params: list[Any] = whole.params
        return params

    def get_params(self, ctx: Any) -> list[Any]:
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]  # of the class mixed into
        for parameter in found:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""  # a switch has no value that the help could name
        return found

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        return super().parse_args(ctx, _by_our_names(self, args))  # type: ignore[misc]

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with clear_errors():
            return super().make_context(*arguments, **settings)  # type: ignore[misc]


class Command(_Declared, TyperCommand):
    """A command that gets its paths expanded."""

    def invoke(self, ctx: Any) -> Any:
        require_tested_releases()  # here, for --help to come whatever is installed
        ctx.params = {name: _expanded(value) for name, value in ctx.params.items()}
        return super().invoke(ctx)


class Group(_Declared, TyperGroup):
    """The same for commands that have commands below them."""

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
        return _registering(
            super().command, Command, configurable=configurable, name=name, **settings
        )

    def callback(self, *, configurable: bool = False, **settings: Any) -> Callable[..., Any]:
        """Register what the group itself does; configurable as in `command`."""
        return _registering(super().callback, Group, configurable=configurable, **settings)


def _registering(
    register: Callable[..., Any], kind: type[_Declared], *, configurable: bool, **settings: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that registers a command, by the options that the function's parameters
    declare."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def bare() -> None:
            """Stand for the function until its options are asked for."""

        bare.__name__, bare.__doc__ = function.__name__, function.__doc__
        own = {"function": staticmethod(function), "configurable": configurable}
        register(cls=type(kind.__name__, (kind,), own), **settings)(bare)
        return function

    return decorate
