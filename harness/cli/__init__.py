"""The `harness` command. What takes long to import is imported inside the command that needs it."""

from __future__ import annotations

import errno
import json
import logging
import math
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.commands import App
from harness.cli.distill import app as distillation
from harness.cli.mini import app as miniatures
from harness.cli.streams import lasting
from harness.core import processes
from harness.core.errors import Exit, HarnessError
from harness.core.files.paths import user_path
from harness.core.interrupts import Interrupted, interrupts
from harness.core.terminal import harmless, print_json, quieten_libraries, say
from harness.remote.endpoint import MAX_SECONDS

if TYPE_CHECKING:
    from harness.run.evaluate import Data, ModelOptions
    from harness.run.scoring import Run
    from reports.collect import Report, ReportOptions


app = App(
    help="Evaluate small vision-language models, and see what is behind each number.",
    epilog="Results go to stdout, logs and progress to stderr. Exit codes: 0 done, 1 unexpected, "
    "2 usage, 3 weights or data missing or unusable, 4 finished with failed samples, 5 a check "
    "failed, 130 or 143 interrupted with everything saved.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

listing = App(help="List models, tasks or runs.", no_args_is_help=True)
app.add_typer(listing, name="list")
app.add_typer(distillation, name="distill")
app.add_typer(miniatures, name="mini")

RunsDir = Annotated[Path, typer.Option("--runs", help="Folder of run folders.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, nothing else.")]

ReportOut = Annotated[Path, typer.Option("--out", help="The page to write.")]
BertScore = Annotated[
    str,
    typer.Option(
        help="Encoder of BERTScore, for written answers: a name, a folder, minilm, or none.",
    ),
]


class Tokenizer(StrEnum):
    """How BLEU splits a text: see harness.metrics.overlap.Tokenize."""

    mteval = "13a"
    intl = "intl"
    zh = "zh"
    char = "char"


TokenizeOption = Annotated[
    Tokenizer,
    typer.Option(
        "--tokenize",
        help="How BLEU splits written answers: 13a into words, as published figures; intl by "
        "Unicode's punctuation; zh into Chinese characters; char into characters.",
    ),
]

MOST_CHOICES = 26
MAX_TEXT = 2**28
"""Bytes of a text that is explained."""
LARGE_PAGE = 25_000_000
"""Bytes: what mail programs still take."""
SHOWN = 5
"""Failed samples that are named on stderr."""
SAMPLES, MODEL, SERVER, DECODING, OUTPUT = "Samples", "Model", "Server", "Decoding", "Output"


class StyleName(StrEnum):
    """Prompt styles."""

    plain = "plain"
    direct = "direct"
    structured = "structured"
    cot = "cot"


class ModeName(StrEnum):
    """How an answer comes about."""

    generate = "generate"
    loglikelihood = "loglikelihood"


class OptionName(StrEnum):
    """What is scored of an option."""

    letter = "letter"
    text = "text"


class Size(StrEnum):
    """Sizes of checkpoints."""

    tiny = "tiny"
    mini = "mini"
    full = "full"


class Engine(StrEnum):
    """What runs a model."""

    harness = "harness"
    transformers = "transformers"


class DeviceMap(StrEnum):
    """Ways of putting a model on several devices."""

    auto = "auto"


class Quantize(StrEnum):
    """Ways of loading weights in fewer bits."""

    nf4 = "nf4"


class TextOnly(StrEnum):
    """What becomes of rows without an image."""

    skip = "skip"
    include = "include"


class ExportFormat(StrEnum):
    """Formats of `harness export`: see reports.export."""

    csv = "csv"
    markdown = "markdown"
    latex = "latex"
    json = "json"
    lm_eval = "lm-eval"
    hf = "hf"
    every_eval_ever = "every-eval-ever"


class SamplesShown(StrEnum):
    """The samples of a page."""

    all = "all"
    errors = "errors"
    none = "none"


class ImagesShown(StrEnum):
    """What a page has of the pictures."""

    inline = "inline"
    none = "none"


class Sampling(StrEnum):
    """How --limit chooses."""

    first = "first"
    stratified = "stratified"


StyleOption = Annotated[
    StyleName | None,
    typer.Option(
        "--style",
        help="Prompt style; default: the one the model was trained for.",
        rich_help_panel=DECODING,
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="Folder or ORG/REPO in place of the row's own weights; or random.",
        rich_help_panel=MODEL,
    ),
]
SizeOption = Annotated[
    Size,
    typer.Option(
        "--size",
        help="mini: the small one that comes with the package. With --weights random also tiny.",
        rich_help_panel=MODEL,
    ),
]
AdapterOption = Annotated[
    Path | None,
    typer.Option("--adapter", help="Folder of a LoRA adapter to merge in.", rich_help_panel=MODEL),
]
QuantizeOption = Annotated[
    Quantize | None,
    typer.Option("--quantize", help="Weights in 4 bits, by bitsandbytes.", rich_help_panel=MODEL),
]
RevisionOption = Annotated[
    str | None,
    typer.Option(
        "--model-revision", help="Branch, tag or commit of the weights.", rich_help_panel=MODEL
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...", rich_help_panel=MODEL)
]
DeviceMapOption = Annotated[
    DeviceMap | None,
    typer.Option(
        "--device-map",
        help="For a model that is too large for one device: over all that are here, then the "
        "host's memory, as accelerate finds. Run by transformers' generate.",
        rich_help_panel=MODEL,
    ),
]
DtypeOption = Annotated[
    str,
    typer.Option(
        "--dtype",
        help="auto (bfloat16 on an accelerator, else float32), float32, bfloat16, float16.",
        rich_help_panel=MODEL,
    ),
]
AttentionOption = Annotated[
    str | None,
    typer.Option(
        "--attn", help="Attention kernel: sdpa, eager, flash_attention_2 ...", rich_help_panel=MODEL
    ),
]
EngineOption = Annotated[
    Engine,
    typer.Option(
        "--engine",
        help="What runs the model: the decoding engine, or transformers' generate, its reference; "
        "the answers are the same.",
        rich_help_panel=DECODING,
    ),
]
ProcessorOption = Annotated[
    list[str] | None,
    typer.Option(
        "--processor-arg",
        help="KEY=VALUE for the checkpoint's processor, such as num_crops=16. Repeatable.",
        rich_help_panel=MODEL,
    ),
]
ChatTemplateOption = Annotated[
    Path | None,
    typer.Option(
        "--chat-template",
        help="Jinja file with the model's chat template, in place of the checkpoint's own.",
        rich_help_panel=MODEL,
    ),
]


def _finite(value: float) -> float:
    """For options: infinity is above every minimum."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


BaseUrlOption = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        help="Address of the server of --model openai:NAME, such as http://127.0.0.1:8000/v1. Its "
        "key, if it wants one, is HARNESS_API_KEY or OPENAI_API_KEY in the environment.",
        rich_help_panel=SERVER,
    ),
]
ConcurrencyOption = Annotated[
    int,
    typer.Option(
        "--concurrency", min=1, help="Requests under way at once.", rich_help_panel=SERVER
    ),
]
TimeoutOption = Annotated[
    float,
    typer.Option(
        "--request-timeout",
        min=0.1,
        max=MAX_SECONDS,
        callback=_finite,
        help="Seconds that an answer may take, from connecting to its last byte.",
        rich_help_panel=SERVER,
    ),
]
PatienceOption = Annotated[
    float,
    typer.Option(
        "--patience",
        min=0,
        max=MAX_SECONDS,
        callback=_finite,
        help="Seconds that a server which went away, or is busy, is waited for.",
        rich_help_panel=SERVER,
    ),
]


def _batch_size(value: str) -> str:
    """For options: auto, or a number of 1 or more."""
    if value != "auto":
        try:
            number = int(value)
        except ValueError:
            raise typer.BadParameter(f"{value!r} is neither auto nor a number.") from None
        if number < 1:
            raise typer.BadParameter("Input should be greater than or equal to 1, or auto.")
    return value


def _label(name: str | None) -> str | None:
    """For options: what a run is called is never taken for a path."""
    if name is not None and (not name.strip() or ".." in Path(name).parts or name[0] in "/\\~"):
        raise typer.BadParameter(f"{name!r} is a path, or nothing; say what to call the run.")
    return name


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
            callback=_label,
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
            callback=_finite,
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
            callback=_batch_size,
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
    _refuse_idle(ctx)
    quieten_libraries()
    from harness.core.types import DataOptions
    from harness.run import evaluate
    from tasks import load_task

    loaded: list[Data] = [
        evaluate.Data(
            load_task(wanted),
            DataOptions(
                path=paths.get(wanted),
                split=split,
                revision=revision,
                text_only=text_only is TextOnly.include,
            ),
        )
        for wanted in task
    ]
    how = evaluate.RunOptions(
        runs=runs,
        limit=limit,
        sample=sample.value,
        seed=seed,
        batch_size=None if batch_size == "auto" else int(batch_size),
        workers=workers,
        shots=shots,
        shuffle=shuffle_choices,
        truncate=truncate,
        conclude=conclude,
        fresh=fresh,
        tokenize=tokenize.value,
        bertscore=None if bertscore == "none" else bertscore,
        command=["harness", *sys.argv[1:]],
    )
    done: list[Run] = []
    errors: list[HarnessError] = []
    for wanted in model:
        try:
            source = evaluate.find_source(_model_options(wanted, ctx.params))
        except HarnessError as error:
            errors.append(_told(error))
            continue
        for each in loaded:
            try:
                done.append(evaluate.evaluate(source, each, how))
            except HarnessError as error:
                errors.append(_told(error))
            else:
                if not processes.here().first:
                    continue  # the first process waits for the others, and speaks for all
                _tell_failures(done[-1])
                _tell_silence(done[-1])
                if not as_json:
                    _print_run(done[-1])
    if not processes.here().first:
        raise typer.Exit(errors[0].code if errors else Exit.OK)
    if as_json:
        print_json(
            {"runs": [_run_json(run) for run in done], "errors": [e.to_json() for e in errors]}
        )
    if errors:
        raise typer.Exit(errors[0].code)
    if any(run.record.counts.failed or run.record.is_silent for run in done):
        raise typer.Exit(Exit.FAILED_SAMPLES)


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
    _refuse_idle(ctx)
    quieten_libraries()
    from harness.cli import inspection
    from harness.cli.printing import print_check
    from harness.run import evaluate

    needed = inspection.download(model) if not weights else None
    if needed:
        size_of = f"{needed['repo']}: {needed['gigabytes']:.1f} GB"
        say(f"{size_of}, downloaded where it is not here yet.", err=True)
    loaded = evaluate.find_source(_model_options(model, ctx.params))
    report = inspection.check(loaded)
    if as_json:
        print_json(report)
    else:
        print_check(report)


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
    _refuse_idle(ctx)
    quieten_libraries()
    from harness.cli.printing import print_bench
    from harness.run import bench as measuring
    from harness.run import evaluate

    loads = [
        measuring.Load(batch=rows, words=length, new_tokens=tokens)
        for rows in batch or [1, 16]
        for length in words or [64]
        for tokens in new_tokens or [64]
    ]
    sources = [(name, evaluate.Weights(_model_options(name, ctx.params))) for name in model]
    told = measuring.measure(sources, loads, tell=lambda words: say(words, err=True))
    if as_json:
        print_json(told)
    else:
        print_bench(told)
    if all(figures["error"] for figures in told["figures"]):
        raise typer.Exit(Exit.CHECK_FAILED)


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
    _check_choices(choices or [])
    _refuse_idle(ctx)
    quieten_libraries()
    from dataclasses import asdict

    from harness.cli import inspection
    from harness.run import evaluate

    loaded = evaluate.find_source(_model_options(model, ctx.params))
    answer = inspection.ask(
        loaded,
        question=question,
        image=image,
        choices=choices or (),
        max_new_tokens=max_new_tokens,
    )
    if as_json:
        print_json(asdict(answer))
    else:
        shown = inspection.lay_out(answer, choices or ())
        say(shown)


@app.command(epilog="Example:\n\nharness report --out page.html")
def report(
    runs: RunsDir = Path("runs"),
    out: ReportOut = Path("reports/leaderboard.html"),
    samples: Annotated[
        SamplesShown,
        typer.Option(
            help="Which questions can be looked at, with every answer; errors: those that some "
            "model got wrong."
        ),
    ] = SamplesShown.all,
    images: Annotated[
        ImagesShown,
        typer.Option(
            help="Their pictures, small, as far as the data are at hand; none: a page that can be "
            "published without the pictures' licence."
        ),
    ] = ImagesShown.inline,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK=PATH",
            help="Where the data of a task's runs are now, if they were moved. Repeatable.",
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task", "-t", help="For pictures of runs of ./mine.py: that file. Repeatable."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the leaderboard: one self-contained HTML page, the paper's rows beside the measured."""
    _refuse_absent(runs)
    from reports.collect import ReportOptions

    if (data or task) and (samples is SamplesShown.none or images is ImagesShown.none):
        option = "--data" if data else "--task"
        raise HarnessError(f"{option} is for pictures, and the page is to have none.")
    how = ReportOptions(
        samples=samples.value,
        images=images is ImagesShown.inline,
        tasks=task or (),
        data=_moved_data(data or []),
    )
    _write_report(runs, out, how, as_json=as_json)


def _moved_data(given: Sequence[str]) -> dict[str, Path]:
    """--data TASK=PATH, once for each task."""
    paths: dict[str, Path] = {}
    for value in given:
        name, equals, path = value.partition("=")
        if not equals or not name or not path:
            raise HarnessError(f"--data {value}: write TASK=PATH, such as scienceqa=./scienceqa.")
        if name in paths:
            raise HarnessError(f"--data is given twice for {name}.")
        paths[name] = user_path(path)
        if not paths[name].exists():
            raise HarnessError(f"--data {value}: there is no {path}.", code=Exit.MISSING)
    return paths


@app.command(
    epilog="Examples:\n\n"
    "harness export --format csv --task scienceqa\n\n"
    "harness export --format latex --out tables.tex\n\n"
    "harness export --format lm-eval --out lm-eval-results"
)
def export(
    form: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            "-f",
            help="csv, markdown, latex, json: the tables of the page, in one document. lm-eval, "
            "hf, every-eval-ever: the runs, in a folder.",
        ),
    ],
    task: Annotated[
        str | None, typer.Option("--task", "-t", help="Only this task; default: all.")
    ] = None,
    runs: RunsDir = Path("runs"),
    out: Annotated[
        Path | None,
        typer.Option(help="The file, in place of stdout; where runs are written, the folder."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="ORG/NAME",
            help="The hub's data set that the questions are, where runs were made from a copy.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the tables, or the runs with their answers, in a format that other programs read."""
    _refuse_absent(runs)
    if as_json and out is None:
        raise HarnessError(
            "--json tells which files were written: it needs --out.", remedy="--format json"
        )
    from reports.export.write import export as write

    written = write(form.value, runs, task=task, out=out, dataset=dataset)
    for one in written.broken:
        _told(one)
    if as_json:
        print_json({"format": form.value, "files": [str(path) for path in written.files]})
    elif written.files:
        say(f"{out}: {len(written.files)} file{'s' * (len(written.files) > 1)}")
    else:
        sys.stdout.write(written.text)
    if written.broken:
        raise typer.Exit(written.broken[0].code)


@app.command(epilog="Examples:\n\nharness demo\n\nharness demo --quick --folder ./tried")
def demo(
    folder: Annotated[
        Path,
        typer.Option(
            help="Where everything is put, of --quick in quick/; the same command goes on from "
            "there."
        ),
    ] = Path("demo"),
    out: ReportOut = Path("reports/leaderboard.html"),
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A few questions and rationales, to see that all of it runs."),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Move aside what is there, and begin anew.")
    ] = False,
) -> None:
    """The whole paper in miniature, with nothing to download.

    Six small models answer drawn questions; the teacher among them writes rationales, the student
    learns them, a control learns the answers alone; the page shows what came of it. Every score is
    mini (synthetic): it shows how things work, not how well a published model does.
    """
    quieten_libraries()
    from harness.mini import demo as whole

    command = ["harness", *sys.argv[1:]]
    extent = whole.QUICK if quick else whole.FULL
    folder = folder / "quick" if quick else folder  # the scores of the two are of other questions
    told = partial(say, err=True)
    say(whole.run(folder, out=out, extent=extent, fresh=fresh, command=command, told=told))


@app.command(
    epilog="Example:\n\n"
    "harness draw ./questions --task scienceqa-mini --split train --count 500\n\n"
    "harness eval --model ./my-checkpoint --task scienceqa --data ./questions --split train"
)
def draw(
    folder: Annotated[Path, typer.Argument(help="Where SPLIT.jsonl and images/ are put.")],
    task: Annotated[
        str, typer.Option("--task", "-t", help="scienceqa-mini or vqaonline-mini.")
    ] = "scienceqa-mini",
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    count: Annotated[
        int | None,
        typer.Option(min=1, help="How many; default: as many as the task has, its own first."),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Other questions than the task's, of the same split.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Write drawn questions and their pictures as a data folder, as your own data may lie."""
    from harness.synthetic.questions import DRAWN
    from harness.synthetic.writing import write

    if task not in DRAWN:
        raise HarnessError(
            f"The questions of {task!r} are not drawn.", known=f"Drawn are {', '.join(DRAWN)}."
        )
    items = DRAWN[task](split, seed, count)
    file = write(folder, split, items)
    if as_json:
        print_json({"file": str(file), "questions": len(items), "task": task, "split": split})
    else:
        say(f"{len(items):,} questions: {file}")


@app.command(epilog="Example:\n\nharness show runs/scienceqa/moondream/test")
def show(
    run: Annotated[Path, typer.Argument(help="A run folder.")], as_json: AsJson = False
) -> None:
    """Print a run's result again."""
    from harness.run.folder import RunFolder
    from harness.run.scoring import Run

    _give(Run(run, RunFolder(run).existing_record()), as_json=as_json)


@app.command(
    epilog="Examples:\n\n"
    "harness score answers.jsonl --task scienceqa --model my-model\n\n"
    'One line: {"id": "7", "raw": "The answer is B.", "choices": ["x", "y"], "target": 1}'
)
def score(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSONL with id, raw, target and, for multiple "
            "choice, choices (target is then a 0-based index). finish_reason, or finished (true, "
            "false), says whether a token limit cut the answer."
        ),
    ],
    task: Annotated[str, typer.Option("--task", "-t", help="Whose reader and metrics to use.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="What to call it; default: the file's name.")
    ] = None,
    split: Annotated[str, typer.Option(help="Which split the answers are of.")] = "test",
    skip_invalid: Annotated[
        bool,
        typer.Option("--skip-invalid", help="Leave out, count and list rows that do not fit."),
    ] = False,
    tokenize: TokenizeOption = Tokenizer.mteval,
    bertscore: BertScore = "roberta-large",
    runs: RunsDir = Path("runs"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Move a run that is there aside.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score answers that were made elsewhere: a run like any other, without a model."""
    quieten_libraries()
    from harness.run.scoring import score_file
    from tasks import load_task

    run = score_file(
        file,
        load_task(task),
        label=model or file.stem,
        runs=runs,
        split=split,
        fresh=fresh,
        skip_invalid=skip_invalid,
        tokenize=tokenize.value,
        bertscore=None if bertscore == "none" else bertscore,
        command=["harness", *sys.argv[1:]],
    )
    _list(run.skipped, "Skipped", "see `skipped` in run.json")
    _give(run, as_json=as_json)
    _tell_silence(run)
    if run.record.is_silent:
        raise typer.Exit(Exit.FAILED_SAMPLES)


@app.command(epilog="Example:\n\nharness rescore runs/scienceqa/moondream/test --reader paper-base")
def rescore(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    reader: Annotated[str, typer.Option(help="ours, paper-base, paper-kd or lmms-eval.")] = "ours",
    task: Annotated[
        str | None, typer.Option("--task", "-t", help="For a run of ./mine.py: that file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a run's answers again, without a model. Another reader than ours makes a run beside."""
    from harness.run.folder import RunFolder
    from harness.run.scoring import rescore as read_again
    from tasks import load_task

    folder = RunFolder(run)
    record = folder.existing_record()
    made = read_again(
        folder,
        load_task(task or record.task.name),
        reader=reader,
        command=["harness", *sys.argv[1:]],
    )
    _give(made, as_json=as_json)


@app.command(
    epilog="Examples:\n\n"
    'harness explain "So the answer is (B)." --choices Alabama --choices Illinois\n\n'
    "harness explain --file output.txt --choices Alabama --choices Illinois --cut"
)
def explain(
    text: Annotated[
        str | None, typer.Argument(help="What a model wrote; - reads it from stdin.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="A text file, in place of TEXT.")
    ] = None,
    choices: Annotated[
        list[str] | None, typer.Option(help="An option, once for each; none: an open question.")
    ] = None,
    finished: Annotated[
        bool | None,
        typer.Option(
            "--finished/--cut",
            help="Whether the model itself ended the text, or the token limit; default: unknown.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how an answer is extracted from a text, and from which words."""
    _check_choices(choices or [])
    from harness.cli.printing import print_explanation
    from harness.extract.explain import explain as explained

    found = explained(_text(text, file), choices or [], finished=finished)
    if as_json:
        print_json(found.to_json())
    else:
        print_explanation(found)


def _check_choices(choices: Sequence[str]) -> None:
    if len(choices) == 1 or len(choices) > MOST_CHOICES:
        raise HarnessError(
            f"--choices: 2 to {MOST_CHOICES} options, or none, are a question; found "
            f"{len(choices)}.",
            remedy="--choices once for each option.",
        )


def _text(text: str | None, file: Path | None) -> str:
    """What is to be explained: the argument, stdin or a file."""
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


@app.command(
    epilog="Example:\n\n"
    "harness compare runs/scienceqa/moondream/test runs/scienceqa/moondream-kd/test"
)
def compare(
    first: Annotated[Path, typer.Argument(help="Run folder A.")],
    second: Annotated[Path, typer.Argument(help="Run folder B.")],
    fail_if_worse: Annotated[
        bool,
        typer.Option(
            "--fail-if-worse",
            help="Exit 5 if B is worse than A: the whole 95% interval lies below 0.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare two runs on the questions that both answered."""
    from harness.run.compare import compare as pair
    from harness.run.compare import words
    from harness.run.folder import RunFolder

    found = pair(RunFolder(first), RunFolder(second))
    if as_json:
        print_json(found.to_json())
    else:
        say(words(found))
    if fail_if_worse and found.second_is_worse:
        raise typer.Exit(Exit.CHECK_FAILED)


@listing.command("models")
def list_models(as_json: AsJson = False) -> None:
    """The rows of Table 1, and what each needs."""
    from dataclasses import asdict

    from harness.checkpoints.catalog import CATALOG
    from harness.core.terminal import table
    from harness.weights import minis as weights

    if as_json:
        rows = [{**asdict(spec), "processor_args": dict(spec.processor_args)} for spec in CATALOG]
        return print_json({"models": rows})
    table(
        "Models",
        ("name", "title", "size", "role", "weights", "GB", "licence"),
        [
            (
                spec.name,
                spec.title,
                spec.size,
                spec.role,
                f"{spec.repo}{f' @ {spec.revision}' if spec.revision else ''}"
                if spec.repo
                else "made by harness distill",
                f"{spec.gigabytes:.1f}" if spec.gigabytes else "—",
                spec.licence,
            )
            for spec in CATALOG
        ],
    )
    say("Any other image-text model: --model ORG/REPO or --model FOLDER.")
    if minis := weights.names():
        say(f"As a miniature that comes with the package, --size mini: {', '.join(minis)}.")
    return None


@listing.command("tasks")
def list_tasks(as_json: AsJson = False) -> None:
    """The tasks that come with harness."""
    from harness.core.terminal import table
    from tasks import TASKS

    if as_json:
        return print_json({"tasks": [{"name": key, "about": TASKS[key]} for key in TASKS]})
    table("Tasks", ("name", "about"), list(TASKS.items()))
    say("Your own: --task ./mine.py, a file that defines TASK.")
    return None


@listing.command("runs")
def list_runs(runs: RunsDir = Path("runs"), as_json: AsJson = False) -> None:
    """The runs that are on disk."""
    from harness.cli.printing import scope
    from harness.core.terminal import percent, table
    from harness.run.folder import read_runs

    _refuse_absent(runs)
    found, broken = read_runs(runs)
    for error in broken:
        _told(error)
    if as_json:
        listed = [{"folder": str(path), **record.to_json()} for path, record in found]
        print_json({"runs": listed, "errors": [error.to_json() for error in broken]})
        raise typer.Exit(broken[0].code if broken else Exit.OK)
    rows = []
    for path, record in found:
        accuracy = record.metrics.get("accuracy")
        shown = percent(accuracy.value) if accuracy else "—"
        rows.append((str(path), record.status, shown, scope(record)))
    table("Runs", ("folder", "status", "accuracy", "n"), rows)
    raise typer.Exit(broken[0].code if broken else Exit.OK)


def _refuse_absent(runs: Path) -> None:
    """A folder of runs that was named is there; the default one need not be."""
    if runs != Path("runs") and not runs.is_dir():
        raise HarnessError(f"{runs} is not a folder.", code=Exit.MISSING)


def _model_options(model: str, given: Mapping[str, Any]) -> ModelOptions:
    """The model options of `eval`, `check` and `ask`, from their parameters by name."""
    from harness.remote.endpoint import ServerOptions
    from harness.run.evaluate import ModelOptions

    names = {
        "weights": "weights",
        "model_revision": "revision",
        "name": "name",
        "adapter": "lora",
        "size": "size",
        "quantize": "quantize",
        "runs": "runs",
        "device": "device",
        "device_map": "device_map",
        "dtype": "dtype",
        "attn": "attention",
        "chat_template": "chat_template",
        "engine": "engine",
        "style": "style",
        "mode": "mode",
        "options": "options",
        "max_new_tokens": "max_new_tokens",
        "temperature": "temperature",
        "top_p": "top_p",
    }
    return ModelOptions(
        model=model,
        processor_args=_key_values(given.get("processor_arg") or []),
        server=ServerOptions(
            base_url=given["base_url"],
            concurrency=given["concurrency"],
            timeout=given["request_timeout"],
            patience=given["patience"],
        )
        if "base_url" in given
        else None,
        **{field: given[name] for name, field in names.items() if name in given},
    )


def _asks_server(given: Mapping[str, Any]) -> bool:
    return any(model.startswith("openai:") for model in _models(given))


def _loads_here(given: Mapping[str, Any]) -> bool:
    return not all(model.startswith("openai:") for model in _models(given))


def _models(given: Mapping[str, Any]) -> Sequence[str]:
    """What --model says; `eval` takes several."""
    return [given["model"]] if isinstance(given["model"], str) else given["model"]


MINI = (Size.mini, None)
"""--size and --weights of what comes with the package."""

IDLE: tuple[tuple[str, str, Callable[[Mapping[str, Any]], bool], str], ...] = (
    (
        "size",
        "--size",
        lambda given: given["weights"] == "random" or (given["size"], given["weights"]) == MINI,
        "--weights random; only --size mini, of what comes with the package, stands alone",
    ),
    ("options", "--options", lambda given: given["mode"] == "loglikelihood", "that --mode"),
    ("top_p", "--top-p", lambda given: given["temperature"] > 0, "a --temperature"),
    (
        "max_new_tokens",
        "--max-new-tokens",
        lambda given: given.get("mode") != "loglikelihood",
        "--mode generate",
    ),
    (
        "temperature",
        "--temperature",
        lambda given: given.get("mode") != "loglikelihood",
        "--mode generate",
    ),
    *(
        (name, f"--{name.replace('_', '-')}", _asks_server, "--model openai:NAME")
        for name in ("base_url", "concurrency", "request_timeout", "patience")
    ),
    *(
        (name, f"--{name.replace('_', '-')}", _loads_here, "a model that is loaded here")
        for name in (
            *("weights", "size", "model_revision", "adapter", "quantize"),
            *("device", "device_map", "dtype", "attn", "processor_arg"),
            *("chat_template", "engine", "truncate"),
        )
    ),
)
"""Options that mean something only with another one: parameter, option, whether it is there, what
it needs."""


def _refuse_idle(ctx: typer.Context) -> None:
    """Refuse an option that would do nothing."""
    for name, option, useful, needs in IDLE:
        set_by = ctx.get_parameter_source(name) if name in ctx.params else None
        if set_by is not None and set_by.name == "COMMANDLINE" and not useful(ctx.params):
            raise HarnessError(f"{option} does nothing without {needs}.")


def _data_paths(given: Sequence[str], tasks: Sequence[str]) -> dict[str, Path]:
    """--data PATH for the only task, or --data TASK=PATH."""
    paths: dict[str, Path] = {}
    for value in given:
        name, equals, path = value.partition("=")
        if equals and name in tasks:
            whose, where = name, user_path(path)
        elif len(tasks) == 1:
            whose, where = tasks[0], user_path(value)
        else:
            raise HarnessError(
                f"--data {value}: with several tasks, say whose it is.",
                remedy=f"--data {tasks[0]}={value}",
            )
        if whose in paths:
            raise HarnessError(f"--data is given twice for {whose}.")
        paths[whose] = where
    return paths


def _key_values(given: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE pairs; a value that is JSON is taken as such, any other as text."""
    pairs: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise HarnessError(f"--processor-arg {text}: write KEY=VALUE, such as num_crops=16.")
        try:
            pairs[key] = json.loads(value)
        except ValueError:
            pairs[key] = value
    return pairs


def _run_json(run: Run) -> dict[str, Any]:
    return {"folder": str(run.folder), **run.record.to_json()}


def _write_report(
    runs: Path, out: Path, how: ReportOptions | None = None, *, as_json: bool = False
) -> None:
    from reports.collect import write_report

    if out.exists() and not out.is_file():  # a device would be replaced by a file
        raise _unwritable(out, "it is no file")
    try:
        made = write_report(runs, out, how)
    except OSError as error:
        raise _unwritable(out, error.strerror) from error
    for one in made.broken:
        _told(one)
    for note in [*made.notes, *_large(made)]:
        say(note, err=True)
    if as_json:
        told = {"report": str(out), "runs": made.runs, "bytes": made.bytes}
        print_json({**told, "notes": list(made.notes)})
    else:
        say(f"{out}: {made.runs} measured runs beside the paper's rows")
    if made.broken:
        raise typer.Exit(made.broken[0].code)


def _large(made: Report) -> list[str]:
    """A warning where a page is too large to send, with the options that make it smaller."""
    if made.bytes <= LARGE_PAGE:
        return []
    smaller = []
    if made.picture_bytes:
        pictures = f"{made.picture_bytes / 1e6:,.1f} MB of pictures"
        smaller.append(f"--images none leaves out {pictures}")
    if made.options.samples == "all":
        smaller.append("--samples errors keeps the questions that some model got wrong")
    if made.options.samples != "none":
        smaller.append("--samples none keeps the tables alone")
    size = f"{made.path} has {made.bytes / 1e6:,.1f} MB, which is slow to open and to send."
    return [f"{size} Smaller: {'; '.join(smaller)}." if smaller else size]


def _unwritable(out: Path, reason: str | None) -> HarnessError:
    return HarnessError(f"{out} cannot be written: {reason}.", remedy="Name a file with --out.")


def _give(run: Run, *, as_json: bool) -> None:
    """A run as the result of a command."""
    if as_json:
        print_json(_run_json(run))
    else:
        _print_run(run)


def _print_run(run: Run) -> None:
    from harness.cli.printing import print_run

    print_run(run.record, str(run.folder))


def _tell_failures(run: Run) -> None:
    """The first samples without an answer, and why, on stderr."""
    from harness.core.files.layout import PREDICTIONS
    from harness.run.folder import RunFolder

    if not run.record.counts.failed:
        return
    predictions = RunFolder(run.folder).read_predictions()
    failed = [f"{p.sample_id}: {p.error}" for p in predictions if p.error is not None]
    _list(failed, "Failed", f"see `error` in {run.folder / PREDICTIONS}")


def _tell_silence(run: Run) -> None:
    """A run without a single word is no result."""
    if not run.record.is_silent:
        return
    asked = run.record.settings.get("mode") == "generate"
    template = "A chat template or a --style that is not the model's own is likely."
    _told(
        HarnessError(
            f"Every one of {run.record.counts.empty:,} answers is empty.",
            known="The model ended each of them at once." if asked else "",
            remedy=template if asked else "",
        )
    )


def _list(lines: Sequence[str], what: str, where: str) -> None:
    """The first lines on stderr, and where the others are."""
    for line in lines[:SHOWN]:
        say(f"{what}: {line}", err=True)
    if len(lines) > SHOWN:
        say(f"... and {len(lines) - SHOWN:,} more; {where}", err=True)


def _told(error: HarnessError) -> HarnessError:
    """Tell the user of `error`, on stderr."""
    lines = [harmless(line) for line in str(error).splitlines()]
    say(_whose() + "\n  ".join([f"Error: {lines[0]}", *lines[1:]]), err=True)
    return error


class _Harmless(logging.Formatter):
    """What is logged can hold text from data and from models."""

    def format(self, record: logging.LogRecord) -> str:

        return _whose() + harmless(super().format(record))


def _whose() -> str:
    """Which of several processes is speaking; nothing for the first."""
    rank = _rank()
    return f"[process {rank}] " if rank else ""


def _rank() -> int:
    """Among several processes; where that is unclear, the commands that need it say so."""
    try:
        return processes.here().rank
    except HarnessError:
        return 0


def main() -> None:
    """Run the command; every error that a user can put right is told without a traceback."""
    sys.excepthook = _print_traceback
    with lasting() as stdout:
        code = _run()
        sys.stdout.flush()
        if stdout.failure is not None:
            code = code or _tell_dropped(stdout.failure)
    sys.exit(code)


def _print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """As the interpreter does, made harmless: a message can hold names and data."""
    say("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"), err=True)


def _tell_dropped(failure: OSError) -> int:
    """Say that results could not be printed; returns the exit code."""
    if failure.errno == errno.EBADF:
        say("stdout is closed: results are not printed.", err=True)
        return Exit.OK
    if failure.errno != errno.EPIPE:  # whoever read it has seen enough
        say(f"Error: stdout cannot be written: {failure.strerror}.", err=True)
    return Exit.UNEXPECTED


def _run() -> int:
    """Run the command; returns its exit code."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Harmless("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    for package in ("harness", "distill"):
        # What goes well is told once; what does not, by whom it happens to.
        logging.getLogger(package).setLevel(logging.WARNING if _rank() else logging.INFO)
    interrupts.install()
    try:
        app()
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except HarnessError as error:
        return _told(error).code
    except Interrupted as error:
        say(f"{_whose()}Interrupted.", err=True)
        return error.exit_code
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        known = "What was computed is kept; the same command goes on." if error.errno else ""
        return _told(
            HarnessError(f"{error.strerror or error}{where}", known=known, code=Exit.UNEXPECTED)
        ).code
    return Exit.OK


if __name__ == "__main__":
    main()
