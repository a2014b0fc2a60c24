"""`harness ask`: one question from the shell, or a conversation."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.commands import App
from harness.cli.options import AsJson, Choices, check_choices
from harness.cli.signature import Expand
from harness.core.declarations import DECODING, MODEL, OUTPUT, SERVER, Option
from harness.core.errors import Exit, HarnessError
from harness.core.options import GenerationOptions, ModelOptions
from harness.core.terminal import print_json, quieten_libraries, say

if TYPE_CHECKING:
    from harness.cli.asking import Question
    from harness.cli.conversation import Settings
    from harness.sources.source import Source

app = App()


@app.command(
    epilog="Examples:\n\n"
    'harness ask --model moondream --image map.png --question "Which state is farthest west?" '
    "--choices Alabama --choices Illinois\n\n"
    "harness ask --model moondream --model phi-3.5"
)
def ask(
    *,
    models: Annotated[
        list[ModelOptions],
        Expand(each="model", panels=("", MODEL, SERVER, OUTPUT), without=("name",)),
    ],
    question: Annotated[
        str | None,
        Option(
            "What to ask. Default: a conversation; lines of a pipe are answered by lines of JSON.",
            default=None,
        ),
    ],
    image: Annotated[
        list[Path] | None, Option("The picture, once for each. Default: none.", default=None)
    ],
    choices: Choices,
    generation: Annotated[
        GenerationOptions,
        Expand(only=("style", "max_new_tokens", "temperature", "top_p"), panels=(DECODING,)),
    ],
    as_json: AsJson,
) -> None:
    """Put one question, or one after the other, to models that are loaded once."""
    if question is not None and not question.strip():
        raise HarnessError("--question is empty.")
    check_choices(choices or [])
    quieten_libraries()
    from harness.cli.asking import Question
    from harness.cli.conversation import Settings
    from harness.sources.registry import find_source

    sources = [find_source(options) for options in models]
    pictures = tuple(image or ())
    asked = Question(text=question or "", images=pictures, choices=tuple(choices or ()))
    if question is None:
        _answer_lines(sources, Settings(asked, generation), as_json=as_json)
    else:
        _answer(sources, asked, generation, as_json=as_json)


def _answer_lines(sources: Sequence[Source], settings: Settings, *, as_json: bool) -> None:
    """Answer what a user types in a terminal, or the lines of a pipe."""
    from harness.cli.conversation import answer_lines, converse

    if sys.stdin.isatty() and sys.stdout.isatty() and not as_json:
        from harness.cli.line_editor import line_editor

        converse(sources, settings, line_editor())
    elif answer_lines(sources, settings, sys.stdin):
        raise typer.Exit(Exit.FAILED_SAMPLES)


def _answer(
    sources: Sequence[Source], asked: Question, generation: GenerationOptions, *, as_json: bool
) -> None:
    """Print the answer of each model to one question."""
    from harness.cli.asking import lay_out, put_question
    from harness.cli.checking import before_loading
    from harness.cli.conversation import described, print_answers, to_json

    for source in sources:
        say(before_loading(source), err=True)
    answers = [(source, put_question(source, asked, generation)) for source in sources]
    if as_json:
        documents = [{**described(s, asked), **to_json(answer)} for s, answer in answers]
        print_json(documents[0] if len(documents) == 1 else {"answers": documents})
    else:
        print_answers([(s.checkpoint.title, lay_out(a, asked.choices)) for s, a in answers])
