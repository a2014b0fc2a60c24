"""`harness bench`: the speed of models on this device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.commands import App
from harness.cli.options import AsJson
from harness.cli.signature import Expand
from harness.core.declarations import MODEL, OUTPUT, Option
from harness.core.errors import Exit, HarnessError
from harness.core.needs import is_remote
from harness.core.options import ModelOptions
from harness.core.terminal import print_json, quieten_libraries, say

if TYPE_CHECKING:
    from harness.run.bench import Load

app = App()


@app.command(
    epilog="Examples:\n\n"
    "harness bench --model moondream --weights random --device cuda --batch 1 --batch 64\n\n"
    "harness bench --model llava-next --weights random --size tiny --new-tokens 16\n\n"
    "harness bench --machine"
)
def bench(
    ctx: typer.Context,
    *,
    models: Annotated[
        list[ModelOptions],
        Expand(
            each="model",
            panels=("", MODEL, OUTPUT),
            without=("name", "device_map", "engine", "engine_args"),
            shared={"weights": "random"},
            defaults={"model": []},
        ),
    ],
    machine: Annotated[
        bool, Option("Measure the device alone, without a model; --device chooses it.")
    ],
    batch: Annotated[
        list[int] | None, Option("Questions at once. Default: 1 and 16.", minimum=1, default=None)
    ],
    words: Annotated[
        list[int] | None, Option("Words of a question. Default: 64.", minimum=1, default=None)
    ],
    new_tokens: Annotated[
        list[int] | None, Option("Tokens of every answer. Default: 64.", minimum=2, default=None)
    ],
    as_json: AsJson,
) -> None:
    """Estimate speed, and the run time of the paper's tables, on your device."""
    if machine == bool(models):
        raise HarnessError(
            "harness bench measures models, or the machine alone.",
            remedy="Give --model NAME or --machine.",
        )
    if remote := [options.model for options in models if is_remote(options.model)]:
        raise HarnessError(f"harness bench measures models that are loaded here, not {remote[0]}.")
    quieten_libraries()
    from harness.cli.printing import print_bench, print_ceilings
    from harness.run import bench as measuring

    if machine:
        found = measuring.measure_device(ctx.params["device"], ctx.params["dtype"])
        print_json(found) if as_json else print_ceilings(found)
        return
    loads = [
        measuring.Load(batch=rows, words=length, new_tokens=tokens)
        for rows in batch or [1, 16]
        for length in words or [64]
        for tokens in new_tokens or [64]
    ]
    shown = _measured(models, loads)
    print_json(shown) if as_json else print_bench(shown)
    if all(figures["error"] for figures in shown["figures"]):
        raise typer.Exit(Exit.CHECK_FAILED)


def _measured(models: Sequence[ModelOptions], loads: Sequence[Load]) -> dict[str, Any]:
    """The document: what was measured, and what is projected from it."""
    from harness.run.bench import measure
    from harness.sources.weights import Weights
    from reports import projection

    sources = [
        (f"{options.model}-mini" if options.size == "mini" else options.model, Weights(options))
        for options in models
    ]
    measured = measure(sources, loads, report=lambda words: say(words, err=True))
    projected = projection.projected(measured["figures"])
    return {
        **measured,
        "projected": projected,
        "projection": projection.PROJECTION if projected else projection.NONE_OF_MINIS,
    }
