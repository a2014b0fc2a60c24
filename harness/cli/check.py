"""`harness check`: one model before a long night."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.commands import App
from harness.cli.options import (
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
    TimeoutOption,
    WeightsOption,
    model_options,
    refuse_idle,
)
from harness.core.terminal import print_json, quieten_libraries, say

app = App()


@app.command(epilog="Example:\n\nharness check phi-3.5")
def check(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="A row of the catalogue, ORG/REPO, or a folder.")],
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
    """Before a long night: load a model, ask two questions, alone and in a batch of four."""
    refuse_idle(ctx)
    quieten_libraries()
    from harness.cli.checking import download, try_out
    from harness.cli.printing import print_check
    from harness.run.sources import find_source

    needed = download(model) if not weights else None
    if needed:
        size_of = f"{needed['repo']}: {needed['gigabytes']:.1f} GB"
        say(f"{size_of}, downloaded where it is not here yet.", err=True)
    loaded = find_source(model_options(model, ctx.params))
    report = try_out(loaded)
    if as_json:
        print_json(report)
    else:
        print_check(report)
