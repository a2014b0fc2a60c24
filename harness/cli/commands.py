"""The command line's own `Typer`: no command runs on a release of transformers that is not tested,
and every path that a user writes may begin with `~`.

A shell expands `~` at the beginning of a word, but not behind `--runs=`, in quotes, or where no
shell is in between. Typer makes a `Path` of such a value as it stands.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from harness.core.files.paths import user_path
from harness.core.terminal import harmless
from harness.core.versions import require_tested_transformers


def _expanded(value: Any) -> Any:
    if isinstance(value, Path):
        return user_path(value)
    if isinstance(value, list | tuple):
        return type(value)(map(_expanded, value))
    return value


_UsageError: Any = typer.BadParameter.__base__
"""Of click, or of the copy of click that some versions of typer hold."""


@contextlib.contextmanager
def _harmless_errors() -> Iterator[None]:
    """A usage error repeats what was typed: names that a shell found in a folder, say."""
    try:
        yield
    except _UsageError as error:
        error.message = harmless(error.message)
        raise


class Command(TyperCommand):
    """A command that gets its paths expanded."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with _harmless_errors():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        require_tested_transformers()  # here, for --help to come whatever is installed
        ctx.params = {name: _expanded(value) for name, value in ctx.params.items()}
        return super().invoke(ctx)


class Group(TyperGroup):
    """The same for commands that have commands below them."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with _harmless_errors():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        ctx.params = {name: _expanded(value) for name, value in ctx.params.items()}
        with _harmless_errors():
            return super().invoke(ctx)


class App(typer.Typer):
    """A Typer whose commands are of these kinds."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Group, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[..., Any]:
        return super().command(name, cls=Command, **settings)
