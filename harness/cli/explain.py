"""`harness explain`: how an answer is extracted from a text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.commands import App
from harness.cli.options import AsJson, Choices, check_choices
from harness.core.declarations import Option
from harness.core.errors import Exit, HarnessError
from harness.core.terminal import print_json

app = App()

MAX_TEXT = 2**28
"""Bytes of a text that is explained."""


@app.command(
    epilog="Examples:\n\n"
    'harness explain "So the answer is (B)." --choices Alabama --choices Illinois\n\n'
    "harness explain --file output.txt --choices Alabama --choices Illinois --cut"
)
def explain(
    text: Annotated[
        str | None, typer.Argument(help="What a model wrote; - reads it from stdin.")
    ] = None,
    *,
    file: Annotated[Path | None, Option("A text file, in place of TEXT.", default=None)],
    choices: Choices,
    finished: Annotated[
        bool | None,
        Option(
            "Whether the model itself ended the text, or the token limit cut it. Default: unknown.",
            opposite="cut",
            default=None,
        ),
    ],
    as_json: AsJson,
) -> None:
    """Show how an answer is extracted from a text, and from which words."""
    check_choices(choices or [])
    from harness.cli.printing import print_explanation
    from harness.extract.explain import explain as explained

    found = explained(_text(text, file), choices or [], finished=finished)
    if as_json:
        print_json(found.to_json())
    else:
        print_explanation(found)


def _text(text: str | None, file: Path | None) -> str:
    """The text to explain: the argument, stdin or a file."""
    if (text is None) == (file is None):
        raise HarnessError("Give either a text or --file.", remedy='harness explain "TEXT"')
    if text is not None and text != "-":
        return text
    from harness.core.files.regular import read_regular

    try:
        data = sys.stdin.buffer.read() if file is None else read_regular(file, limit=MAX_TEXT)
    except OSError as error:
        reason = error.strerror or str(error)
        raise HarnessError(f"{file} cannot be read: {reason}.", code=Exit.MISSING) from error
    return data.decode("utf-8", "replace")
