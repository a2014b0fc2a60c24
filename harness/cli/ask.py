"""`harness ask`: one question from the shell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.commands import App
from harness.cli.options import (
    DECODING,
    AdapterOption,
    AsJson,
    AttentionOption,
    BaseUrlOption,
    ChatTemplateOption,
    ConcurrencyOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    PatienceOption,
    ProcessorOption,
    QuantizeOption,
    RevisionOption,
    RunsDir,
    Size,
    SizeOption,
    StyleOption,
    TimeoutOption,
    WeightsOption,
    check_choices,
    model_options,
    refuse_idle,
)
from harness.core.errors import HarnessError
from harness.core.terminal import print_json, quieten_libraries, say

app = App()


@app.command(
    epilog="Example:\n\n"
    'harness ask --model moondream --image map.png --question "Which state is farthest west?" '
    "--choices Alabama --choices Illinois"
)
def ask(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A row of the catalogue, ORG/REPO, or a folder.")
    ],
    question: Annotated[str, typer.Option("--question", "-q", help="What to ask.")],
    image: Annotated[
        Path | None, typer.Option("--image", "-i", help="The picture, if there is one.")
    ] = None,
    choices: Annotated[
        list[str] | None, typer.Option(help="An option, once for each; none: an open question.")
    ] = None,
    style: StyleOption = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Default: the row's.", rich_help_panel=DECODING)
    ] = None,
    weights: WeightsOption = None,
    size: SizeOption = Size.full,
    adapter: AdapterOption = None,
    quantize: QuantizeOption = None,
    model_revision: RevisionOption = None,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    attn: AttentionOption = None,
    processor_arg: ProcessorOption = None,
    chat_template: ChatTemplateOption = None,
    base_url: BaseUrlOption = None,
    concurrency: ConcurrencyOption = 8,
    request_timeout: TimeoutOption = 600.0,
    patience: PatienceOption = 300.0,
    runs: RunsDir = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Put one question to a model; a structured answer is laid out stage by stage."""
    if not question.strip():
        raise HarnessError("--question is empty.")
    check_choices(choices or [])
    refuse_idle(ctx)
    quieten_libraries()
    from dataclasses import asdict

    from harness.cli.asking import lay_out, put_question
    from harness.run.sources import find_source

    loaded = find_source(model_options(model, ctx.params))
    answer = put_question(
        loaded,
        question=question,
        image=image,
        choices=choices or (),
        style=style.value if style else None,
        max_new_tokens=max_new_tokens,
    )
    if as_json:
        print_json(asdict(answer))
    else:
        shown = lay_out(answer, choices or ())
        say(shown)
