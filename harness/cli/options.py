"""What the commands' options are called, take and say."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.core.errors import Exit, HarnessError
from harness.core.options import MAX_SECONDS

if TYPE_CHECKING:
    from harness.core.options import GenerationOptions, ModelOptions


SAMPLES, MODEL, SERVER, DECODING, OUTPUT = "Samples", "Model", "Server", "Decoding", "Output"
MOST_CHOICES = 26
"""Options of a question that is asked from the shell."""

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


class Sampling(StrEnum):
    """How --limit chooses."""

    first = "first"
    stratified = "stratified"


def finite(value: float) -> float:
    """For options: infinity is above every minimum."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


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
        callback=finite,
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
        callback=finite,
        help="Seconds that a server which went away, or is busy, is waited for.",
        rich_help_panel=SERVER,
    ),
]


def batch_size_or_auto(value: str) -> str:
    """For options: auto, or a number of 1 or more."""
    if value != "auto":
        try:
            number = int(value)
        except ValueError:
            raise typer.BadParameter(f"{value!r} is neither auto nor a number.") from None
        if number < 1:
            raise typer.BadParameter("Input should be greater than or equal to 1, or auto.")
    return value


def run_label(name: str | None) -> str | None:
    """For options: what a run is called is never taken for a path."""
    if name is not None and (not name.strip() or ".." in Path(name).parts or name[0] in "/\\~"):
        raise typer.BadParameter(f"{name!r} is a path, or nothing; say what to call the run.")
    return name


def refuse_absent(runs: Path) -> None:
    """A folder of runs that was named is there; the default one need not be."""
    if runs != Path("runs") and not runs.is_dir():
        raise HarnessError(f"{runs} is not a folder.", code=Exit.MISSING)


def check_choices(choices: Sequence[str]) -> None:
    """Refuse a number of options that is no question."""
    if len(choices) == 1 or len(choices) > MOST_CHOICES:
        raise HarnessError(
            f"--choices: 2 to {MOST_CHOICES} options, or none, are a question; found "
            f"{len(choices)}.",
            remedy="--choices once for each option.",
        )


def model_options(model: str, given: Mapping[str, Any]) -> ModelOptions:
    """The model options of `eval`, `check` and `ask`, from their parameters by name."""
    from harness.core.options import ModelOptions, ServerOptions

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


def generation_options(given: Mapping[str, Any]) -> GenerationOptions:
    """How `eval` puts questions, from its parameters by name."""
    from harness.core.options import GenerationOptions

    fields = ("style", "mode", "options", "shots", "truncate", "conclude")
    limits = ("max_new_tokens", "temperature", "top_p")
    return GenerationOptions(
        shuffle=given["shuffle_choices"], **{name: given[name] for name in (*fields, *limits)}
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


def refuse_idle(ctx: typer.Context) -> None:
    """Refuse an option that would do nothing."""
    for name, option, useful, needs in IDLE:
        set_by = ctx.get_parameter_source(name) if name in ctx.params else None
        if set_by is not None and set_by.name == "COMMANDLINE" and not useful(ctx.params):
            raise HarnessError(f"{option} does nothing without {needs}.")


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
