"""The options of `harness distill`, each once: its commands share them."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.core.options import MAX_SECONDS

SAMPLES, TEACHER, TRAINING, EVALUATION, OUTPUT = (
    "Questions",
    "Teacher",
    "Training",
    "Evaluation",
    "Output",
)


class Sampling(StrEnum):
    """How --limit chooses."""

    first = "first"
    stratified = "stratified"


class Keep(StrEnum):
    """Filters."""

    none = "none"
    well_formed = "format"
    agrees = "agrees"


class Choice(StrEnum):
    """Which of several attempts is kept."""

    best = "best"
    first = "first"


class Preset(StrEnum):
    """Where the paper and its code differ, and what suits the minis."""

    paper = "paper"
    code = "code"
    miniature = "miniature"


class Size(StrEnum):
    """Of teacher and student."""

    mini = "mini"
    full = "full"


class Target(StrEnum):
    """What the student is taught to write."""

    structured = "structured"
    answer = "answer"


class Precision(StrEnum):
    """Types that training computes in."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Parallel(StrEnum):
    """How several processes hold the model."""

    ddp = "ddp"
    fsdp2 = "fsdp2"


def _finite(value: float) -> float:
    """NaN is neither below a minimum nor above a maximum."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


TaskName = Annotated[
    str,
    typer.Option("--task", "-t", help="A task, or ./mine.py.", rich_help_panel=SAMPLES),
]
DataPath = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Folder or file with the questions, in place of the hub's.",
        rich_help_panel=SAMPLES,
    ),
]
Split = Annotated[
    str, typer.Option("--split", help="Split that is distilled.", rich_help_panel=SAMPLES)
]
Revision = Annotated[
    str | None,
    typer.Option("--revision", help="Revision of the hub data set.", rich_help_panel=SAMPLES),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        min=0,
        help="At most so many questions; 0: all. Default: the preset's 2,000.",
        rich_help_panel=SAMPLES,
    ),
]
Sample = Annotated[
    Sampling,
    typer.Option(
        "--sample",
        help="What --limit takes: the first, or as many of each topic.",
        rich_help_panel=SAMPLES,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        min=0,
        help="Of --sample stratified, of sampled attempts, and of training.",
        rich_help_panel=SAMPLES,
    ),
]
TeacherName = Annotated[
    str,
    typer.Option(
        "--teacher",
        help="A row of `harness list models`, ORG/REPO, a folder, or openai:NAME with --base-url.",
        rich_help_panel=TEACHER,
    ),
]
TeacherWeights = Annotated[
    str | None,
    typer.Option(
        "--teacher-weights",
        help="Folder or ORG/REPO in place of the row's own weights.",
        rich_help_panel=TEACHER,
    ),
]
TeacherTemplate = Annotated[
    Path | None,
    typer.Option(
        "--chat-template",
        help="Jinja file with the teacher's chat template, in place of its checkpoint's own.",
        rich_help_panel=TEACHER,
    ),
]
TeacherInput = Annotated[
    str | None,
    typer.Option(
        "--teacher-input",
        help="What it sees beside the image, with commas between; default: the preset's, "
        "question,answer,lecture,solution in the paper.",
        rich_help_panel=TEACHER,
    ),
]
TeacherTokens = Annotated[
    int | None,
    typer.Option(
        "--teacher-tokens",
        min=1,
        help="Most tokens of a rationale; default: the row's.",
        rich_help_panel=TEACHER,
    ),
]
TeacherBatch = Annotated[
    int | None,
    typer.Option(
        "--teacher-batch-size",
        min=1,
        help="Questions that the teacher is asked at once. Default: 4; for a server its "
        "--concurrency.",
        rich_help_panel=TEACHER,
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        help="Address of the server of --teacher openai:NAME, such as http://127.0.0.1:8000/v1. "
        "Its key, if it wants one, is HARNESS_API_KEY or OPENAI_API_KEY in the environment.",
        rich_help_panel=TEACHER,
    ),
]
Concurrency = Annotated[
    int,
    typer.Option(
        "--concurrency",
        min=1,
        help="Requests to a server under way at once.",
        rich_help_panel=TEACHER,
    ),
]
RequestTimeout = Annotated[
    float,
    typer.Option(
        "--request-timeout",
        min=0.1,
        max=MAX_SECONDS,
        callback=_finite,
        help="Seconds that an answer of a server may take, from connecting to its last byte.",
        rich_help_panel=TEACHER,
    ),
]
Patience = Annotated[
    float,
    typer.Option(
        "--patience",
        min=0,
        max=MAX_SECONDS,
        callback=_finite,
        help="Seconds that a server which went away, or is busy, is waited for.",
        rich_help_panel=TEACHER,
    ),
]
Attempts = Annotated[
    int,
    typer.Option(
        "--attempts",
        min=1,
        max=99,
        help="Per question: the first greedy, the others sampled.",
        rich_help_panel=TEACHER,
    ),
]
Choose = Annotated[
    Choice,
    typer.Option(
        "--choose",
        help="Of several attempts: the best by quality, or stop at the first that is kept.",
        rich_help_panel=TEACHER,
    ),
]
Hint = Annotated[
    bool,
    typer.Option(
        "--hint-on-retry",
        help="Ask once more, with the answer as a hint, where every attempt was rejected.",
        rich_help_panel=TEACHER,
    ),
]
Truncate = Annotated[
    bool,
    typer.Option(
        "--truncate",
        help="Shorten the context text of prompts that are longer than the teacher's context, from "
        "its middle; without it they fail.",
        rich_help_panel=TEACHER,
    ),
]
Filter = Annotated[
    Keep,
    typer.Option(
        "--filter",
        help="Keep any text (the paper reports no filter), those with the four stages, or of "
        "these those that conclude the right answer.",
        rich_help_panel=TEACHER,
    ),
]
Temperature = Annotated[
    float,
    typer.Option(
        "--temperature",
        min=0.01,
        callback=_finite,
        help="Of sampled attempts.",
        rich_help_panel=TEACHER,
    ),
]
TopP = Annotated[
    float,
    typer.Option(
        "--top-p",
        min=0.0001,
        max=1,
        callback=_finite,
        help="Of sampled attempts.",
        rich_help_panel=TEACHER,
    ),
]
Import = Annotated[
    Path | None,
    typer.Option(
        "--import",
        help="CSV or JSONL with a `rationale` for each `id` or `question`, in place of a teacher; "
        "also another distillation's rationales.jsonl.",
        rich_help_panel=TEACHER,
    ),
]
ModelSize = Annotated[
    Size,
    typer.Option(
        "--size",
        help="mini: teacher and student are the small ones that come with the package.",
        rich_help_panel=OUTPUT,
    ),
]
Base = Annotated[
    str,
    typer.Option(
        "--base", help="The student before training: a row, or a folder.", rich_help_panel=TRAINING
    ),
]
BaseWeights = Annotated[
    str | None,
    typer.Option(
        "--base-weights",
        help="Folder or ORG/REPO in place of that row's own weights.",
        rich_help_panel=TRAINING,
    ),
]
PresetName = Annotated[
    Preset,
    typer.Option(
        "--preset",
        help="Table 3 of the paper, or what its published code does instead.",
        rich_help_panel=TRAINING,
    ),
]
TargetName = Annotated[
    Target | None,
    typer.Option(
        "--target",
        help="Rationale and answer, or the answer alone.",
        rich_help_panel=TRAINING,
    ),
]
LearningRate = Annotated[
    float | None, typer.Option("--learning-rate", help="Its peak.", rich_help_panel=TRAINING)
]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", help="Questions per optimizer step.", rich_help_panel=TRAINING),
]
Accumulation = Annotated[
    int | None,
    typer.Option(
        "--accumulation", help="Parts that a batch is computed in.", rich_help_panel=TRAINING
    ),
]
Epochs = Annotated[int | None, typer.Option("--epochs", rich_help_panel=TRAINING)]
TrainParts = Annotated[
    str | None,
    typer.Option(
        "--train-parts",
        help="Of vision, projector, embeddings, layers, head; the others are frozen.",
        rich_help_panel=TRAINING,
    ),
]
LoraRank = Annotated[
    int | None,
    typer.Option(
        "--lora-rank", help="Train adapters in place of the weights.", rich_help_panel=TRAINING
    ),
]
Dtype = Annotated[
    Precision | None,
    typer.Option("--precision", help="What training computes in.", rich_help_panel=TRAINING),
]
ParallelName = Annotated[
    Parallel | None,
    typer.Option(
        "--parallel",
        help="With torchrun: each process holds the whole model (ddp, the default), or a part of "
        "it (fsdp2).",
        rich_help_panel=TRAINING,
    ),
]
Without = Annotated[
    str | None,
    typer.Option(
        "--without",
        help="Stages left out of the target: summary, caption, reasoning.",
        rich_help_panel=TRAINING,
    ),
]
Weight = Annotated[
    list[str] | None,
    typer.Option(
        "--stage-weight",
        help="STAGE=WEIGHT of its tokens in the loss, such as conclusion=4. Repeatable.",
        rich_help_panel=TRAINING,
    ),
]
Checkpoint = Annotated[
    int | None,
    typer.Option("--checkpoint-every", help="Steps between checkpoints.", rich_help_panel=TRAINING),
]
Setting = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="FIELD=VALUE, any other field of DistillConfig, such as clip=1.0. Repeatable.",
        rich_help_panel=TRAINING,
    ),
]
TestSplit = Annotated[
    str, typer.Option("--test-split", help="Split of the test.", rich_help_panel=EVALUATION)
]
TestLimit = Annotated[
    int | None,
    typer.Option("--test-limit", min=1, help="At most so many.", rich_help_panel=EVALUATION),
]
TestBatch = Annotated[
    int,
    typer.Option(
        "--test-batch-size", min=1, help="Changes speed, not answers.", rich_help_panel=EVALUATION
    ),
]
NewTokens = Annotated[
    int | None,
    typer.Option(
        "--max-new-tokens",
        help="Most tokens of a student's answer; default: the preset's 512.",
        rich_help_panel=EVALUATION,
    ),
]
NoBaseline = Annotated[
    bool,
    typer.Option(
        "--no-baseline",
        help="Leave out the student before training.",
        rich_help_panel=EVALUATION,
    ),
]
Conclude = Annotated[
    bool,
    typer.Option(
        "--conclude",
        help="Take the student's conclusions from the likelihood of the options behind its "
        "reasoning.",
        rich_help_panel=EVALUATION,
    ),
]
Control = Annotated[
    bool,
    typer.Option(
        "--control",
        help="Train and evaluate a student on the answers alone as well.",
        rich_help_panel=EVALUATION,
    ),
]
ControlSetting = Annotated[
    list[str] | None,
    typer.Option(
        "--control-set",
        help="FIELD=VALUE of the control, where it is to differ from the student's: "
        "learning_rate=1e-5. Repeatable.",
        rich_help_panel=EVALUATION,
    ),
]
DependenceFlag = Annotated[
    bool,
    typer.Option(
        "--image-dependence",
        help="Measure how much rationales depend on their picture: two forward passes each.",
        rich_help_panel=EVALUATION,
    ),
]
BertScore = Annotated[
    str,
    typer.Option(
        "--bertscore",
        help="Encoder for written answers: a name, a folder, minilm, or none.",
        rich_help_panel=EVALUATION,
    ),
]
Name = Annotated[
    str,
    typer.Option(
        "--name", help="What the student, and its folder, is called.", rich_help_panel=OUTPUT
    ),
]
Runs = Annotated[
    Path,
    typer.Option(
        "--runs",
        help="Folder of run folders; this one is in distill/NAME.",
        rich_help_panel=OUTPUT,
    ),
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...", rich_help_panel=OUTPUT)
]
ModelDtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        help="Of the teacher and of evaluation: auto, float32, bfloat16, float16.",
        rich_help_panel=OUTPUT,
    ),
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh",
        help="Start over; what is there is moved aside once there is something in its place.",
        rich_help_panel=OUTPUT,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Print samples, steps, memory and time, and do nothing.",
        rich_help_panel=OUTPUT,
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document, nothing else.", rich_help_panel=OUTPUT),
]
PageOut = Annotated[Path, typer.Option("--out", help="The page.", rich_help_panel=OUTPUT)]
