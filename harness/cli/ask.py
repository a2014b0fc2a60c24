"""`harness ask`: one question from the shell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from harness.cli.commands import App
from harness.cli.options import AsJson, Choices, check_choices
from harness.cli.signature import Expand
from harness.core.declarations import MODEL, OUTPUT, SERVER, Option
from harness.core.errors import HarnessError
from harness.core.options import GenerationOptions, ModelOptions
from harness.core.terminal import print_json, quieten_libraries, say

app = App()


@app.command(
    epilog="Example:\n\n"
    'harness ask --model moondream --image map.png --question "Which state is farthest west?" '
    "--choices Alabama --choices Illinois"
)
def ask(
    *,
    options: Annotated[ModelOptions, Expand(panels=("", MODEL, SERVER, OUTPUT), without=("name",))],
    question: Annotated[str, Option("What to ask.")],
    image: Annotated[Path | None, Option("The picture. Default: none.", default=None)],
    choices: Choices,
    generation: Annotated[GenerationOptions, Expand(only=("style", "max_new_tokens"))],
    as_json: AsJson,
) -> None:
    """Put one question to a model; a structured answer is laid out stage by stage."""
    if not question.strip():
        raise HarnessError("--question is empty.")
    check_choices(choices or [])
    quieten_libraries()
    from dataclasses import asdict

    from harness.cli.asking import lay_out, put_question
    from harness.sources.registry import find_source

    answer = put_question(
        find_source(options),
        question=question,
        image=image,
        choices=choices or (),
        generation=generation,
    )
    if as_json:
        print_json(asdict(answer))
    else:
        say(lay_out(answer, choices or ()))
