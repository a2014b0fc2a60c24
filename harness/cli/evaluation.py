"""`harness eval`: models on tasks."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.commands import App
from harness.cli.messages import print_failures, print_silence, show_error
from harness.cli.options import (
    DECODING,
    MODEL,
    OUTPUT,
    SAMPLES,
    AdapterOption,
    AttentionOption,
    BaseUrlOption,
    BertScore,
    ChatTemplateOption,
    ConcurrencyOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    Engine,
    EngineOption,
    ModeName,
    OptionName,
    PatienceOption,
    ProcessorOption,
    QuantizeOption,
    RevisionOption,
    Sampling,
    Size,
    SizeOption,
    StyleOption,
    TextOnly,
    TimeoutOption,
    TokenizeOption,
    Tokenizer,
    WeightsOption,
    batch_size_or_auto,
    finite,
    generation_options,
    model_options,
    refuse_idle,
    run_label,
)
from harness.core import processes
from harness.core.errors import Exit, HarnessError
from harness.core.files.paths import user_path
from harness.core.terminal import print_json, quieten_libraries

if TYPE_CHECKING:
    from harness.run.scoring import Run
    from harness.run.task_data import Data


app = App()


@app.command(
    epilog="Examples:\n\n"
    "harness eval --model phi-3.5 --task scienceqa\n\n"
    "harness eval --model ./my-checkpoint --task scienceqa --data ./scienceqa --limit 200\n\n"
    "harness eval --model moondream --weights ./my-moondream --task scienceqa --batch-size 16"
)
def eval(
    ctx: typer.Context,
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            help="A row of `harness list models`, ORG/REPO, a folder, or openai:NAME with "
            "--base-url. Repeatable.",
        ),
    ],
    task: Annotated[
        list[str],
        typer.Option(
            "--task", "-t", help="A task of `harness list tasks`, or ./mine.py. Repeatable."
        ),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder or file with the questions, in place of the hub's. For several tasks: "
            "TASK=PATH, once each.",
            rich_help_panel=SAMPLES,
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which split.", rich_help_panel=SAMPLES)] = "test",
    revision: Annotated[
        str | None,
        typer.Option(help="Revision of the hub data set.", rich_help_panel=SAMPLES),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many samples.", rich_help_panel=SAMPLES)
    ] = None,
    sample: Annotated[
        Sampling,
        typer.Option(
            help="What --limit takes: the first ones, or as many of each topic, with and without "
            "image.",
            rich_help_panel=SAMPLES,
        ),
    ] = Sampling.first,
    text_only: Annotated[
        TextOnly,
        typer.Option(
            help="Rows without an image: leave out and count, or answer without one.",
            rich_help_panel=SAMPLES,
        ),
    ] = TextOnly.skip,
    weights: WeightsOption = None,
    size: SizeOption = Size.full,
    adapter: AdapterOption = None,
    quantize: QuantizeOption = None,
    model_revision: RevisionOption = None,
    name: Annotated[
        str | None,
        typer.Option(
            callback=run_label,
            help="What to call the run; default: the model's name.",
            rich_help_panel=MODEL,
        ),
    ] = None,
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
    style: StyleOption = None,
    mode: Annotated[
        ModeName,
        typer.Option(
            help="Let the model write, or choose the option that it finds most likely.",
            rich_help_panel=DECODING,
        ),
    ] = ModeName.generate,
    options: Annotated[
        OptionName,
        typer.Option(
            help="What --mode loglikelihood scores: each option's letter or its text.",
            rich_help_panel=DECODING,
        ),
    ] = OptionName.letter,
    shots: Annotated[
        int,
        typer.Option(
            min=0,
            help="Show so many answered questions of the train split first, as text; never the one "
            "that is asked.",
            rich_help_panel=DECODING,
        ),
    ] = 0,
    shuffle_choices: Annotated[
        int | None,
        typer.Option(
            metavar="SEED",
            help="Ask the options in another order; answers are mapped back, and options such as "
            "'all of the above' stay where they are.",
            rich_help_panel=DECODING,
        ),
    ] = None,
    truncate: Annotated[
        bool,
        typer.Option(
            "--truncate",
            help="Shorten the context text of prompts that are longer than the model's context, "
            "from its middle; without it they are error rows.",
            rich_help_panel=DECODING,
        ),
    ] = False,
    conclude: Annotated[
        bool,
        typer.Option(
            "--conclude",
            help="Take a structured answer's conclusion from the likelihood of the options behind "
            "its reasoning.",
            rich_help_panel=DECODING,
        ),
    ] = False,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Default: the row's, else the task's.", rich_help_panel=DECODING),
    ] = None,
    temperature: Annotated[
        float,
        typer.Option(
            min=0,
            callback=finite,
            help="0 is greedy.",
            rich_help_panel=DECODING,
        ),
    ] = 0.0,
    top_p: Annotated[
        float,
        typer.Option(
            min=0.0001,
            max=1,
            help="With a temperature.",
            rich_help_panel=DECODING,
        ),
    ] = 1.0,
    seed: Annotated[
        int,
        typer.Option(help="Of sampling, and of --sample stratified.", rich_help_panel=DECODING),
    ] = 0,
    batch_size: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            callback=batch_size_or_auto,
            help="Questions at once; changes speed, not greedy answers. auto: as many as fit into "
            "memory; for a server its --concurrency.",
            rich_help_panel=DECODING,
        ),
    ] = "auto",
    engine: EngineOption = Engine.harness,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes that prepare questions ahead; default: by the cores, none where the "
            "model runs on them.",
            rich_help_panel=DECODING,
        ),
    ] = None,
    tokenize: TokenizeOption = Tokenizer.mteval,
    bertscore: BertScore = "roberta-large",
    runs: Annotated[
        Path, typer.Option(help="Folder of run folders.", rich_help_panel=OUTPUT)
    ] = Path("runs"),
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Start over; a run that is there is moved aside at the first new answer.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON document, nothing else.", rich_help_panel=OUTPUT
        ),
    ] = False,
) -> None:
    """Run models on tasks. The same command again goes on where it was interrupted."""
    from harness.cli.printing import print_run, run_json

    for option, given in (("--model", model), ("--task", task)):
        if twice := {value for value in given if given.count(value) > 1}:
            raise HarnessError(f"{option} {min(twice)} is given twice.")
    paths = _data_paths(data or [], task)
    if revision and len(paths) == len(task):
        raise HarnessError("--revision is one of the hub's data set; --data names a copy.")
    if weights and len(model) > 1:
        raise HarnessError("--weights goes with one --model.")
    if adapter and len(model) > 1:
        raise HarnessError("--adapter goes with one --model.")
    if chat_template and len(model) > 1:
        raise HarnessError("--chat-template goes with one --model.")
    if name and len(model) > 1:
        raise HarnessError("--name goes with one --model.")
    refuse_idle(ctx)
    quieten_libraries()
    from harness.core.options import RunOptions
    from harness.run.evaluate import evaluate
    from harness.run.sources import find_source

    loaded = _load_data(
        task, paths, split=split, revision=revision, text_only=text_only is TextOnly.include
    )
    how = RunOptions(
        runs=runs,
        limit=limit,
        sample=sample.value,
        seed=seed,
        batch_size=None if batch_size == "auto" else int(batch_size),
        workers=workers,
        generation=generation_options(ctx.params),
        fresh=fresh,
        tokenize=tokenize.value,
        bertscore=None if bertscore == "none" else bertscore,
        command=["harness", *sys.argv[1:]],
    )
    done: list[Run] = []
    errors: list[HarnessError] = []
    for wanted in model:
        try:
            source = find_source(model_options(wanted, ctx.params))
        except HarnessError as error:
            errors.append(show_error(error))
            continue
        for each in loaded:
            try:
                done.append(evaluate(source, each, how))
            except HarnessError as error:
                errors.append(show_error(error))
            else:
                if not processes.here().first:
                    continue  # the first process waits for the others, and speaks for all
                print_failures(done[-1])
                print_silence(done[-1])
                if not as_json:
                    print_run(done[-1].record, str(done[-1].folder))
    if not processes.here().first:
        raise typer.Exit(errors[0].code if errors else Exit.OK)
    if as_json:
        print_json(
            {"runs": [run_json(run) for run in done], "errors": [e.to_json() for e in errors]}
        )
    if errors:
        raise typer.Exit(errors[0].code)
    if any(run.record.counts.failed or run.record.is_silent for run in done):
        raise typer.Exit(Exit.FAILED_SAMPLES)


def _load_data(
    tasks: Sequence[str],
    paths: Mapping[str, Path],
    *,
    split: str,
    revision: str | None,
    text_only: bool,
) -> list[Data]:
    """The tasks with their data, which are read when a run first needs them."""
    from harness.core.types import DataOptions
    from harness.run.task_data import Data
    from tasks import load_task

    return [
        Data(
            load_task(name),
            DataOptions(path=paths.get(name), split=split, revision=revision, text_only=text_only),
        )
        for name in tasks
    ]


def _data_paths(given: Sequence[str], tasks: Sequence[str]) -> dict[str, Path]:
    """--data PATH for the only task, or --data TASK=PATH."""
    paths: dict[str, Path] = {}
    for value in given:
        name, equals, path = value.partition("=")
        if equals and name in tasks:
            task, where = name, user_path(path)
        elif len(tasks) == 1:
            task, where = tasks[0], user_path(value)
        else:
            raise HarnessError(
                f"--data {value}: with several tasks, say whose it is.",
                remedy=f"--data {tasks[0]}={value}",
            )
        if task in paths:
            raise HarnessError(f"--data is given twice for {task}.")
        paths[task] = where
    return paths
