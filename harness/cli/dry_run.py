"""`--dry-run`: the configuration as TOML that `--config` reads, what would run, what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typer

from harness.cli.configuration import to_toml
from harness.core.errors import HarnessError
from harness.core.terminal import print_json, say
from harness.run.preview import Preview


def print_dry_run(
    configuration: Mapping[str, Any], previews: Sequence[Preview], *, as_json: bool
) -> None:
    """Print what would run.

    Raises:
        typer.Exit: something is missing.
    """
    if as_json:
        print_json({"configuration": configuration, "runs": [*map(_to_json, previews)]})
    else:
        say(to_toml(configuration).rstrip("\n"))
        for found in previews:
            say()
            for line in _lines(found):
                say(f"# {line}".rstrip())
    stop_where_missing([error for found in previews for error in found.missing])


def stop_where_missing(missing: Sequence[HarnessError]) -> None:
    """End a dry run as the command itself would.

    Raises:
        typer.Exit: something is missing, with the exit code of the first error.
    """
    if missing:
        raise typer.Exit(missing[0].code)


def missing_lines(missing: Sequence[HarnessError]) -> Iterator[str]:
    """What is missing, and what helps."""
    for error in missing:
        first, *more = str(error).splitlines()
        yield f"Missing: {first}"
        yield from (f"  {line}" for line in more)
    if not missing:
        yield "Nothing is missing."


def _lines(found: Preview) -> Iterator[str]:
    yield f"{found.model} on {found.task}"
    if found.questions is not None:
        resumed = f", {found.answered:,} of them are answered" if found.answered else ""
        yield f"n: {found.questions:,} of {found.scope}{resumed}"
    if found.settings:
        decoding = found.settings["decoding"]
        yield (
            f"style: {found.settings['style']}; mode: {found.settings['mode']}; "
            f"at most {decoding['max_new_tokens']:,} new tokens; dtype: {found.settings['dtype']}"
        )
    if found.prompt is not None:
        images = f"{found.images} image{'s' * (found.images != 1)}"
        yield f"The first prompt, with {images}:"
        yield from (f"| {line}" for line in found.prompt.splitlines())
    yield from missing_lines(found.missing)


def _to_json(found: Preview) -> dict[str, Any]:
    return {
        "model": found.model,
        "task": found.task,
        "n": found.questions,
        "scope": found.scope,
        "answered": found.answered,
        "settings": dict(found.settings),
        "prompt": found.prompt,
        "images": found.images,
        "missing": [error.to_json() for error in found.missing],
    }
