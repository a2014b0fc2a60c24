"""The options of a run, each declared once: type, default, name, help, limits and what it needs.

Commands, the API and the steps of a run take these dataclasses. A field without an `Option` is not
on the command line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from harness.core.declarations import (
    DECODING,
    MODEL,
    OUTPUT,
    SAMPLES,
    SCORING,
    SERVER,
    Option,
)
from harness.core.errors import HarnessError
from harness.core.judge_options import JudgeOptions
from harness.core.needs import (
    CHOOSES,
    DECODES,
    LOCAL,
    REMOTE,
    SAMPLED,
    SIZED,
    VLLM,
    WRITES,
)
from harness.core.tracking_options import TrackingOptions
from harness.core.types import Mode, OptionForm, Style

MAX_SECONDS: Final = 86_400.0
"""A day: the most that a time limit may be."""

Size: TypeAlias = Literal["tiny", "mini", "full"]
Engine: TypeAlias = Literal["harness", "transformers", "vllm"]
"""harness: the decoding engine; transformers: its own `generate`; vllm: vLLM."""
Selection: TypeAlias = Literal["first", "stratified"]
Tokenize: TypeAlias = Literal["13a", "intl", "zh", "char"]
"""How BLEU splits a text, by sacrebleu's names. 13a: mteval-v13a's words, on whose scale published
figures are; intl: by Unicode's punctuation and symbols; zh: each Chinese character by itself; char:
every character by itself."""
TOKENIZE: Final[Tokenize] = "13a"


def key_values(given: Sequence[str], *, option: str, example: str) -> dict[str, Any]:
    """KEY=VALUE pairs; a value that is JSON is taken as such, any other as text."""
    pairs: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise HarnessError(f"{option} {text}: write {example}.")
        try:
            pairs[key] = json.loads(value)
        except ValueError:
            pairs[key] = value
    return pairs


def _processor_args(given: Sequence[str]) -> dict[str, Any]:
    return key_values(given, option="--processor-arg", example="KEY=VALUE, such as num_crops=16")


def _engine_args(given: Sequence[str]) -> dict[str, Any]:
    return key_values(given, option="--engine-arg", example="KEY=VALUE, such as max_model_len=8192")


def _batch_size(text: str) -> int | None:
    """None: auto."""
    if text == "auto":
        return None
    try:
        number = int(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither auto nor a number.") from None
    if number < 1:
        raise ValueError(f"{number} is less than 1; write 1 or more, or auto.")
    return number


def _name(text: str) -> str:
    """The name of a run, which is never taken for a path."""
    if not text.strip() or ".." in Path(text).parts or text[0] in "/\\~":
        raise ValueError(f"{text!r} is a path, or nothing; say what to call the run.")
    return text


RUNS: Final = Option("Folder of the run folders.", panel=OUTPUT, default=Path("runs"))
Runs: TypeAlias = Annotated[Path, RUNS]
Fresh: TypeAlias = Annotated[
    bool,
    Option(
        "Start over; what is there is moved aside as soon as there is something new.", panel=OUTPUT
    ),
]
ModelName: TypeAlias = Annotated[
    str,
    Option(
        "A model of `harness list models`, ORG/REPO, or a folder.",
        commas=True,
    ),
]
ChatTemplateFile: TypeAlias = Annotated[
    Path | None,
    Option(
        "Jinja file with the model's chat template. Default: the checkpoint's own.",
        panel=MODEL,
        alone=True,
        needs=(LOCAL,),
    ),
]
MaxNewTokens: TypeAlias = Annotated[
    int | None,
    Option(
        "Maximum number of tokens of an answer. Default: the model's, else the task's.",
        panel=DECODING,
        minimum=1,
        needs=(WRITES,),
    ),
]
Truncate: TypeAlias = Annotated[
    bool,
    Option(
        "Shorten the context text of prompts that are longer than the model's context, from its "
        "middle; without it such a question fails.",
        panel=DECODING,
        needs=(LOCAL,),
    ),
]
SampleSelection: TypeAlias = Annotated[
    Selection,
    Option(
        "What --limit takes: the first samples, or as many of each topic, with and without image.",
        panel=SAMPLES,
    ),
]
BertScore: TypeAlias = Annotated[
    str | None,
    Option(
        "Encoder of BERTScore, for written answers: a name, a folder, minilm, or none.",
        panel=SCORING,
        default="roberta-large",
        given=str,
        parse=lambda name: None if name == "none" else name,
    ),
]
TokenizeName: TypeAlias = Annotated[
    Tokenize,
    Option(
        "How BLEU splits written answers: 13a into words, as published figures; intl by Unicode's "
        "punctuation; zh into Chinese characters; char into characters.",
        panel=SCORING,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How a server is asked."""

    base_url: Annotated[
        str | None,
        Option(
            "Address of the server of a model openai:NAME, such as http://127.0.0.1:8000/v1. Its "
            "key, if it needs one, is HARNESS_API_KEY or OPENAI_API_KEY in the environment.",
            panel=SERVER,
            needs=(REMOTE,),
        ),
    ] = None
    concurrency: Annotated[
        int, Option("Requests under way at once.", panel=SERVER, minimum=1, needs=(REMOTE,))
    ] = 8
    timeout: Annotated[
        float,
        Option(
            "Seconds that an answer may take, from connecting to its last byte.",
            panel=SERVER,
            flag="request-timeout",
            minimum=0.1,
            maximum=MAX_SECONDS,
            needs=(REMOTE,),
        ),
    ] = 600.0
    patience: Annotated[
        float,
        Option(
            "Seconds to wait for a server that went away or is busy.",
            panel=SERVER,
            minimum=0,
            maximum=MAX_SECONDS,
            needs=(REMOTE,),
        ),
    ] = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Which model, and how it is loaded. None: the model's own default."""

    model: ModelName
    weights: Annotated[
        str | None,
        Option(
            "Folder or ORG/REPO with the weights, or random. Default: the model's own.",
            panel=MODEL,
            alone=True,
            needs=(LOCAL,),
        ),
    ] = None
    size: Annotated[
        Size,
        Option(
            "Size of the model: mini comes with the package; tiny, the smallest, needs --weights "
            "random.",
            panel=MODEL,
            needs=(SIZED, LOCAL),
        ),
    ] = "full"
    lora: Annotated[
        Path | None,
        Option(
            "Folder of a LoRA adapter to merge into the weights. Default: none.",
            panel=MODEL,
            flag="adapter",
            alone=True,
            needs=(LOCAL,),
        ),
    ] = None
    quantize: Annotated[
        Literal["nf4"] | None,
        Option(
            "Load the weights in 4 bits, by bitsandbytes. Default: as they are.",
            panel=MODEL,
            needs=(LOCAL,),
        ),
    ] = None
    revision: Annotated[
        str | None,
        Option(
            "Branch, tag or commit of the weights. Default: the one of the catalogue, else main.",
            panel=MODEL,
            flag="model-revision",
            needs=(LOCAL,),
        ),
    ] = None
    name: Annotated[
        str | None,
        Option(
            "What to call the run. Default: the model's name.",
            panel=MODEL,
            alone=True,
            parse=_name,
        ),
    ] = None
    device: Annotated[
        str,
        Option(
            "Where the model runs: auto, cpu, cuda, cuda:1 or mps.", panel=MODEL, needs=(LOCAL,)
        ),
    ] = "auto"
    device_map: Annotated[
        Literal["auto"] | None,
        Option(
            "For a model that is too large for one device: auto spreads it over all that are here, "
            "then the host's memory, as accelerate does. Run by transformers' generate.",
            panel=MODEL,
            needs=(LOCAL,),
        ),
    ] = None
    dtype: Annotated[
        str,
        Option(
            "Type of the weights: auto (bfloat16 on an accelerator, else float32), float32, "
            "bfloat16, float16.",
            panel=MODEL,
            needs=(LOCAL,),
        ),
    ] = "auto"
    attention: Annotated[
        str | None,
        Option(
            "Attention kernel: sdpa, eager, flash_attention_2 ... Default: the fastest that the "
            "model supports.",
            flag="attn",
            panel=MODEL,
            needs=(LOCAL,),
        ),
    ] = None
    processor_args: Annotated[
        Mapping[str, Any],
        Option(
            "KEY=VALUE for the checkpoint's processor, such as num_crops=16.",
            panel=MODEL,
            flag="processor-arg",
            default=(),
            given=list[str],
            parse=_processor_args,
            needs=(LOCAL,),
        ),
    ] = field(default_factory=dict)
    chat_template: ChatTemplateFile = None
    engine: Annotated[
        Engine,
        Option(
            "What runs the model: the decoding engine, or transformers' generate, its reference; "
            "the answers are the same. vllm: vLLM, whose answers may differ; untried on a GPU.",
            panel=MODEL,
            needs=(LOCAL,),
        ),
    ] = "harness"
    compiles: Annotated[
        bool,
        Option(
            "Compile the engine's decode step with torch.compile, on a GPU under its CUDA graphs, "
            "untried there. The first answers wait for the compiler.",
            panel=MODEL,
            flag="compile",
            needs=(DECODES, LOCAL),
        ),
    ] = False
    engine_args: Annotated[
        Mapping[str, Any],
        Option(
            "KEY=VALUE for vLLM, such as max_model_len=8192.",
            panel=MODEL,
            flag="engine-arg",
            default=(),
            given=list[str],
            parse=_engine_args,
            needs=(VLLM, LOCAL),
        ),
    ] = field(default_factory=dict)
    runs: Annotated[Path | None, RUNS] = None
    """Where finished distillations are."""
    server: ServerOptions | None = None
    """Where and how a server is asked, for `openai:NAME`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOptions:
    """How a question is put, and how its answer comes about. None: the model's own default."""

    style: Annotated[
        Style | None,
        Option("Prompt style. Default: the one that the model was trained for.", panel=DECODING),
    ] = None
    mode: Annotated[
        Mode,
        Option(
            "Let the model write its answer, or choose the option that it finds most likely.",
            panel=DECODING,
        ),
    ] = "generate"
    options: Annotated[
        OptionForm,
        Option(
            "What --mode loglikelihood scores: each option's letter or its text.",
            panel=DECODING,
            needs=(CHOOSES,),
        ),
    ] = "letter"
    shots: Annotated[
        int,
        Option(
            "Answered questions of the train split to show first, as text; never the one that is "
            "asked.",
            panel=DECODING,
            minimum=0,
        ),
    ] = 0
    shuffle: Annotated[
        int | None,
        Option(
            "Ask with the options in another order, drawn from this seed; answers are mapped back, "
            "and options such as 'all of the above' keep their place. Default: the data's order.",
            panel=DECODING,
            flag="shuffle-choices",
            metavar="SEED",
        ),
    ] = None
    truncate: Truncate = False
    conclude: Annotated[
        bool,
        Option(
            "Take a structured answer's conclusion from the likelihood of the options after its "
            "reasoning.",
            panel=DECODING,
        ),
    ] = False
    votes: Annotated[
        int,
        Option(
            "Answers to sample for each question; the one that most of them give counts "
            "(self-consistency). With a --temperature, such as 0.7.",
            panel=DECODING,
            minimum=1,
            maximum=99,
            needs=(SAMPLED, WRITES),
        ),
    ] = 1
    max_new_tokens: MaxNewTokens = None
    temperature: Annotated[
        float,
        Option(
            "Temperature of sampling; 0 is greedy decoding.",
            panel=DECODING,
            minimum=0,
            needs=(WRITES,),
        ),
    ] = 0.0
    top_p: Annotated[
        float,
        Option(
            "Sample among the most likely tokens that together have this probability; with a "
            "--temperature.",
            panel=DECODING,
            needs=(SAMPLED,),
            minimum=0.0001,
            maximum=1,
        ),
    ] = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Which samples, in what batches, into which folder."""

    runs: Runs
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    tracking: TrackingOptions = field(default_factory=TrackingOptions)
    judging: JudgeOptions = field(default_factory=JudgeOptions)
    sample: SampleSelection = "first"
    limit: Annotated[
        int | None,
        Option("Maximum number of samples to ask. Default: all.", panel=SAMPLES, minimum=1),
    ] = None
    seed: Annotated[
        int,
        Option(
            "Seed of sampled answers, and of the choice of --sample stratified.", panel=DECODING
        ),
    ] = 0
    batch_size: Annotated[
        int | None,
        Option(
            "Questions at once; changes the speed, not greedy answers. auto: as many as fit into "
            "memory, or for a server its --concurrency.",
            panel=DECODING,
            metavar="N|auto",
            default="auto",
            given=str,
            parse=_batch_size,
        ),
    ] = None
    """None: as many as fit into memory, or for a server as many as it is asked at once."""
    workers: Annotated[
        int | None,
        Option(
            "Processes that prepare questions ahead. Default: by the number of cores; 0 where the "
            "model runs on them.",
            panel=DECODING,
            minimum=0,
        ),
    ] = None
    fresh: Fresh = False
    tokenize: TokenizeName = TOKENIZE
    bertscore: BertScore = None
    """None: not computed."""
    command: Sequence[str] = ()
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """Every option of the command by its name, for the record."""
