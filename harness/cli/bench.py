"""`harness bench`: how fast models are here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.commands import App
from harness.cli.options import (
    AdapterOption,
    AsJson,
    AttentionOption,
    ChatTemplateOption,
    DeviceOption,
    DtypeOption,
    ProcessorOption,
    QuantizeOption,
    RevisionOption,
    RunsDir,
    Size,
    SizeOption,
    WeightsOption,
    model_options,
    refuse_idle,
)
from harness.core.errors import Exit, HarnessError
from harness.core.terminal import print_json, quieten_libraries, say

app = App()


@app.command(
    epilog="Examples:\n\n"
    "harness bench --model moondream --weights random --device cuda --batch 1 --batch 64\n\n"
    "harness bench --model llava-next --weights random --size tiny --new-tokens 16"
)
def bench(
    ctx: typer.Context,
    model: Annotated[
        list[str],
        typer.Option(
            "--model", "-m", help="A row of the catalogue, ORG/REPO, or a folder. Repeatable."
        ),
    ],
    batch: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Questions at once; default: 1 and 16. Repeatable."),
    ] = None,
    words: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Of a question; default: 64. Repeatable."),
    ] = None,
    new_tokens: Annotated[
        list[int] | None,
        typer.Option(min=2, help="Of every answer; default: 64. Repeatable."),
    ] = None,
    weights: WeightsOption = None,
    size: SizeOption = Size.full,
    adapter: AdapterOption = None,
    quantize: QuantizeOption = None,
    model_revision: RevisionOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    attn: AttentionOption = None,
    processor_arg: ProcessorOption = None,
    chat_template: ChatTemplateOption = None,
    runs: RunsDir = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """How fast models are here, against what the device can do, and what the paper's tables would
    take."""
    if remote := [name for name in model if name.startswith("openai:")]:
        raise HarnessError(f"harness bench measures models that are loaded here, not {remote[0]}.")
    if weights not in {None, "random"} and len(model) > 1:
        raise HarnessError("--weights goes with one --model.")
    if chat_template and len(model) > 1:
        raise HarnessError("--chat-template goes with one --model.")
    refuse_idle(ctx)
    quieten_libraries()
    from harness.cli.printing import print_bench
    from harness.run import bench as measuring
    from harness.run.sources import Weights
    from reports import projection

    loads = [
        measuring.Load(batch=rows, words=length, new_tokens=tokens)
        for rows in batch or [1, 16]
        for length in words or [64]
        for tokens in new_tokens or [64]
    ]
    sources = [(name, Weights(model_options(name, ctx.params))) for name in model]
    measured = measuring.measure(sources, loads, tell=lambda words: say(words, err=True))
    told = {
        **measured,
        "projected": projection.projected(measured["figures"]),
        "projection": projection.PROJECTION,
    }
    if as_json:
        print_json(told)
    else:
        print_bench(told)
    if all(figures["error"] for figures in told["figures"]):
        raise typer.Exit(Exit.CHECK_FAILED)
