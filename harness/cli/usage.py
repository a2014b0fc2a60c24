"""What a usage error says: the value, what the option takes, and where the value came from.

Typer hands over the words of the validator behind it ("Input should be a valid integer, unable to
parse string as an integer"), which name neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer

from harness.cli.configuration import CONFIGURATION
from harness.core.suggestions import did_you_mean
from harness.core.terminal import harmless

_UsageError: Any = typer.BadParameter.__base__
"""Of click, or of the copy of click that some versions of typer hold."""

_LIMITS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}


@contextmanager
def clear_errors() -> Iterator[None]:
    """Give every usage error its own words, made harmless: it repeats what was typed, names that a
    shell found in a folder, say."""
    try:
        yield
    except _UsageError as error:
        said = _said(error)
        error.message = harmless(f"{_origin(error)}{error.message if said is None else said}")
        raise


def _said(error: Any) -> str | None:
    """What is wrong with the value in our words; None where the message is clear as it is."""
    errors = getattr(error.__cause__, "errors", None)
    if errors is None:
        return None
    found: Mapping[str, Any] = errors()[0]
    kind, about = str(found["type"]), found.get("ctx") or {}
    value = repr(found.get("input"))
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        return f"{value} is not {words} {about[name]}."
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", str(about["expected"]))
        return _no_choice(found.get("input"), choices)
    if kind == "value_error":
        reason = str(about.get("error", error.message))
        if " is not one of " in reason:
            return _no_choice(found.get("input"), re.findall(r"'([^']*)'", reason)[1:])
        return f"{value}: {reason}."
    wanted = _KINDS.get(kind.partition("_")[0])
    return f"{value} is not {wanted}." if wanted else None


def _no_choice(value: object, choices: list[str]) -> str:
    known = ", ".join(choices)
    return f"{value!r} is not one of {known}.{did_you_mean(str(value), choices)}"


def _origin(error: Any) -> str:
    """The file that the value came from, where it is no option of the command line."""
    context, parameter = error.ctx, getattr(error, "param", None)
    if context is None or parameter is None:
        return ""
    source = context.get_parameter_source(parameter.name)
    file = context.meta.get(CONFIGURATION)
    return f"{file}: " if file and source and source.name == "DEFAULT_MAP" else ""
