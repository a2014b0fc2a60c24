"""`harness distill`: the commands. What takes long to import is imported inside the command."""

# Typer calls commands by name, flags are its booleans, and `_plan` takes options from the context.

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from harness.cli.commands import App
from harness.cli.distill_options import (
    Accumulation,
    AsJson,
    Attempts,
    Base,
    BaseUrl,
    BaseWeights,
    BatchSize,
    BertScore,
    Checkpoint,
    Choice,
    Choose,
    Conclude,
    Concurrency,
    Control,
    ControlSetting,
    DataPath,
    DependenceFlag,
    Device,
    DryRun,
    Dtype,
    Epochs,
    Filter,
    Fresh,
    Hint,
    Import,
    Keep,
    LearningRate,
    Limit,
    LoraRank,
    ModelDtype,
    ModelSize,
    Name,
    NewTokens,
    NoBaseline,
    PageOut,
    ParallelName,
    Patience,
    Preset,
    PresetName,
    RequestTimeout,
    Revision,
    Runs,
    Sample,
    Sampling,
    Seed,
    Setting,
    Size,
    Split,
    TargetName,
    TaskName,
    TeacherBatch,
    TeacherInput,
    TeacherName,
    TeacherTemplate,
    TeacherTokens,
    TeacherWeights,
    Temperature,
    TestBatch,
    TestLimit,
    TestSplit,
    TopP,
    TrainParts,
    Truncate,
    Weight,
    Without,
)
from harness.core import processes
from harness.core.errors import Exit, HarnessError
from harness.core.terminal import print_json, quieten_libraries, say
from harness.core.versions import require_tested_transformers

if TYPE_CHECKING:
    from distill.config import DistillConfig
    from distill.layout import Workspace
    from distill.pipeline import Outcome, Plan
    from distill.rationales.collect import Teaching
    from harness.core.options import ServerOptions

app = App(
    help="Distil a large model's structured reasoning into a small one (SVRD): rationales, "
    "training, evaluation and report in one command, or stage by stage.",
    invoke_without_command=True,
    epilog="Examples:\n\n"
    "harness distill --dry-run\n\n"
    "harness distill --data ./scienceqa --teacher llava-cot --filter agrees\n\n"
    "harness distill --import rationales.csv --data ./scienceqa --base ./moondream --control",
)


@app.callback(invoke_without_command=True)
def distill(
    ctx: typer.Context,
    task: TaskName = "scienceqa",
    data: DataPath = None,
    split: Split = "train",
    revision: Revision = None,
    limit: Limit = None,
    sample: Sample = Sampling.first,
    seed: Seed = 0,
    teacher: TeacherName = "llava-cot",
    teacher_weights: TeacherWeights = None,
    chat_template: TeacherTemplate = None,
    teacher_input: TeacherInput = None,
    teacher_tokens: TeacherTokens = None,
    teacher_batch_size: TeacherBatch = None,
    base_url: BaseUrl = None,
    concurrency: Concurrency = 8,
    request_timeout: RequestTimeout = 600.0,
    patience: Patience = 300.0,
    attempts: Attempts = 1,
    choose: Choose = Choice.best,
    hint_on_retry: Hint = False,
    truncate: Truncate = False,
    keep: Filter = Keep.none,
    temperature: Temperature = 0.7,
    top_p: TopP = 0.95,
    imported: Import = None,
    base: Base = "moondream",
    base_weights: BaseWeights = None,
    preset: PresetName = Preset.paper,
    target: TargetName = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    accumulation: Accumulation = None,
    epochs: Epochs = None,
    train_parts: TrainParts = None,
    lora_rank: LoraRank = None,
    precision: Dtype = None,
    without: Without = None,
    stage_weight: Weight = None,
    checkpoint_every: Checkpoint = None,
    setting: Setting = None,
    test_split: TestSplit = "test",
    test_limit: TestLimit = None,
    test_batch_size: TestBatch = 4,
    max_new_tokens: NewTokens = None,
    no_baseline: NoBaseline = False,
    conclude: Conclude = False,
    control: Control = False,
    control_set: ControlSetting = None,
    image_dependence: DependenceFlag = False,
    bertscore: BertScore = "roberta-large",
    name: Name = "moondream-kd",
    runs: Runs = Path("runs"),
    size: ModelSize = Size.full,
    device: Device = "auto",
    dtype: ModelDtype = "auto",
    out: PageOut = Path("reports/leaderboard.html"),
    fresh: Fresh = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """All stages: rationales, training, evaluation, the page. The same command goes on."""
    if ctx.invoked_subcommand:
        if early := [key for key in ctx.params if _given(ctx, key)]:
            option = early[0].replace("_", "-")
            raise HarnessError(
                f"--{option} stands before {ctx.invoked_subcommand!r}; it belongs behind.",
                remedy=f"harness distill {ctx.invoked_subcommand} --{option} ...",
            )
        return
    require_tested_transformers()
    _refuse_several("harness distill", "torchrun ... harness distill train, then harness eval")
    plan = _plan(ctx, recorded=False)
    if dry_run:
        _estimate(plan, as_json=as_json)
        return
    from distill import pipeline
    from harness.cli.printing import print_run
    from reports.page.report import write_report

    def show(run: Any) -> None:
        if not as_json:
            print_run(run.record, str(run.folder))

    outcome = pipeline.distill(plan, on_run=show)
    write_report(plan.workspace.runs, out)
    if as_json:
        print_json(_outcome_json(plan, outcome))
    else:
        _print_outcome(plan, outcome)
        say(f"Page: {out}")
    failed = (outcome.rationales or {}).get("counts", {}).get("failed", 0)
    if failed or any(run.record.counts.failed or run.record.is_silent for run in outcome.runs):
        raise typer.Exit(Exit.FAILED_SAMPLES)


@app.command(
    epilog="Examples:\n\n"
    "harness distill rationales --teacher llava-cot --limit 2000 --filter agrees\n\n"
    "harness distill rationales --attempts 4 --filter agrees --hint-on-retry\n\n"
    "harness distill rationales --import theirs.csv --data ./scienceqa"
)
def rationales(
    ctx: typer.Context,
    task: TaskName = "scienceqa",
    data: DataPath = None,
    split: Split = "train",
    revision: Revision = None,
    limit: Limit = None,
    sample: Sample = Sampling.first,
    seed: Seed = 0,
    teacher: TeacherName = "llava-cot",
    teacher_weights: TeacherWeights = None,
    chat_template: TeacherTemplate = None,
    teacher_input: TeacherInput = None,
    teacher_tokens: TeacherTokens = None,
    teacher_batch_size: TeacherBatch = None,
    base_url: BaseUrl = None,
    concurrency: Concurrency = 8,
    request_timeout: RequestTimeout = 600.0,
    patience: Patience = 300.0,
    attempts: Attempts = 1,
    choose: Choose = Choice.best,
    hint_on_retry: Hint = False,
    truncate: Truncate = False,
    keep: Filter = Keep.none,
    temperature: Temperature = 0.7,
    top_p: TopP = 0.95,
    imported: Import = None,
    name: Name = "moondream-kd",
    runs: Runs = Path("runs"),
    size: ModelSize = Size.full,
    device: Device = "auto",
    dtype: ModelDtype = "auto",
    fresh: Fresh = False,
    as_json: AsJson = False,
) -> None:
    """Let a teacher write a rationale for each question; keep, reject, measure."""
    _refuse_several("distill rationales", "--teacher openai:NAME --base-url URL uses many GPUs")
    plan = _plan(ctx, recorded=False)
    from distill.quality.record import write_quality
    from distill.rationales.collect import collect_rationales

    workspace, questions = plan.workspace, plan.questions
    record = collect_rationales(workspace, questions, plan.teaching)
    quality = write_quality(workspace, questions, plan.teaching.options)
    if as_json:
        print_json({"folder": str(workspace.folder), **record, "quality": quality["teacher"]})
    else:
        _print_rationales(plan, record)
        _print_quality("Quality", quality["teacher"])
    if record["counts"]["failed"]:
        raise typer.Exit(Exit.FAILED_SAMPLES)


@app.command(
    epilog="Examples:\n\n"
    "harness distill train --preset code\n\n"
    "harness distill train --base ./moondream --lora-rank 16 --learning-rate 1e-4\n\n"
    "harness distill train --target answer --name answers --data ./scienceqa --dry-run\n\n"
    "torchrun --no-python --nproc-per-node 4 harness distill train --parallel fsdp2"
)
def train(
    ctx: typer.Context,
    task: TaskName = "scienceqa",
    data: DataPath = None,
    split: Split = "train",
    revision: Revision = None,
    limit: Limit = None,
    sample: Sample = Sampling.first,
    seed: Seed = 0,
    base: Base = "moondream",
    base_weights: BaseWeights = None,
    preset: PresetName = Preset.paper,
    target: TargetName = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    accumulation: Accumulation = None,
    epochs: Epochs = None,
    train_parts: TrainParts = None,
    lora_rank: LoraRank = None,
    precision: Dtype = None,
    parallel: ParallelName = None,
    without: Without = None,
    stage_weight: Weight = None,
    checkpoint_every: Checkpoint = None,
    setting: Setting = None,
    name: Name = "moondream-kd",
    runs: Runs = Path("runs"),
    size: ModelSize = Size.full,
    device: Device = "auto",
    fresh: Fresh = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train a student on the rationales of the folder. Questions are those they were made for."""
    plan = _plan(ctx, recorded=True)
    if dry_run:
        _estimate(plan, as_json=as_json)
        return
    from distill.rationales.kept import load_examples
    from distill.training.parallel import end_process_group
    from distill.training.students import train_student

    examples = load_examples(
        plan.workspace,
        plan.questions,
        needs_rationales=plan.training.config.target == "structured",
    )
    student = train_student(plan.workspace, plan.questions, plan.training, examples=examples)
    end_process_group()
    if not processes.here().first:
        return
    if as_json:
        print_json({"preset": preset.value, **_training(plan), "student": str(student)})
    else:
        say(f"Student: {student}")
        say(f"harness eval --model moondream-kd --weights {student} --task {task}")


@app.command(epilog="Example:\n\nharness distill quality --run runs/scienceqa/moondream-kd/test")
def quality(
    ctx: typer.Context,
    task: TaskName = "scienceqa",
    data: DataPath = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(help="A run whose own rationales are measured as well. Repeatable."),
    ] = None,
    image_dependence: DependenceFlag = False,
    base: Base = "moondream",
    base_weights: BaseWeights = None,
    name: Name = "moondream-kd",
    runs: Runs = Path("runs"),
    size: ModelSize = Size.full,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure rationales: format, agreement, leaks, repetition, overlap, need of the picture."""
    plan = _plan(ctx, recorded=True)
    from distill.pipeline import measure_dependence
    from distill.quality.record import write_quality
    from distill.rationales.kept import load_examples
    from harness.run.folder import RunFolder
    from harness.run.scoring import Run

    measured = [Run(folder, RunFolder(folder).existing_record()) for folder in run or []]
    workspace, questions = plan.workspace, plan.questions
    dependence = None
    if image_dependence:
        examples = load_examples(workspace, questions)
        dependence = measure_dependence(workspace, questions, plan.training, examples=examples)
    found = write_quality(
        workspace,
        questions,
        plan.teaching.options,
        dependence=dependence,
        runs=measured,
        tested=plan.evaluation.data.samples.samples,
    )
    if as_json:
        print_json(found)
        return
    _print_quality("The teacher's rationales", found["teacher"])
    for student, figures in found["students"].items():
        _print_quality(f"Those of {student}", figures)
    if "dependence" in found:
        _print_values("Dependence on the image (nats per token)", found["dependence"]["all"])


@app.command(epilog="Example:\n\nharness distill export --out ./rationales")
def export(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help="A folder that is not there yet.")],
    task: TaskName = "scienceqa",
    data: DataPath = None,
    no_images: Annotated[bool, typer.Option(help="Leave the pictures out.")] = False,
    name: Name = "moondream-kd",
    runs: Runs = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Write the kept rationales as a data set, with a card that names sources and licences."""
    plan = _plan(ctx, recorded=True)
    from distill.rationales import exporting

    samples = plan.questions.data.samples.samples
    n = exporting.export(plan.workspace.folder, samples, out, images=not no_images)
    if as_json:
        print_json({"folder": str(out), "rationales": n})
    else:
        say(f"{out}: {n:,} rationales")


@app.command(epilog="Example:\n\nharness distill analyse runs/scienceqa/moondream-kd/test")
def analyse(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, nothing else.")
    ] = False,
) -> None:
    """How many of a run's answers have all tags, and how many wrong ones a right reasoning."""
    from distill.quality.answers import reasoning_to_error, structure
    from distill.quality.record import measure_run
    from harness.run.folder import RunFolder

    folder = RunFolder(run)
    record = folder.existing_record()
    predictions = folder.read_predictions()
    errors = reasoning_to_error(predictions)
    if as_json:
        found = measure_run(predictions)
        counts = {"answers": errors.answers, "wrong": errors.wrong}
        ids = list(errors.sample_ids)
        print_json({"run": str(run), **counts, "reasoning_to_error": ids, **found})
        return
    _print_values(f"{record.model.title} on {record.task.title}", structure(predictions))
    say(
        f"Of {errors.answers} answers {errors.wrong} are wrong, {errors.with_reasoning} of these "
        f"have a reasoning, and {len(errors.sample_ids)} of those reason rightly"
        f"{': ' if errors.sample_ids else '.'}{', '.join(map(ascii, errors.sample_ids[:20]))}"
    )


def _refuse_several(command: str, remedy: str) -> None:
    """Refuse to be one of several processes."""
    if (number := processes.here().processes) > 1:
        raise HarnessError(
            f"{command} is one process, and {number} were started: several can train and evaluate.",
            remedy=remedy,
        )


def _given(ctx: typer.Context, key: str) -> bool:
    """Whether the user wrote this option."""
    source = ctx.get_parameter_source(key)
    return source is not None and source.name == "COMMANDLINE"


class _Recorded:
    """Options that, where they are not given, are as they were when the rationales were made."""

    def __init__(self, ctx: typer.Context, folder: Path | None) -> None:
        from distill.rationales.store import Store

        record = (Store(folder).read_record() if folder else None) or {}
        self._ctx = ctx
        self._data, self._settings = record.get("data", {}), record.get("settings", {})

    def data(self, key: str, default: Any, at: str = "") -> Any:
        return self._chosen(key, self._data, default, at=at)

    def setting(self, key: str, default: Any, at: str = "") -> Any:
        return self._chosen(key, self._settings, default, at=at)

    def _chosen(self, key: str, record: Mapping[str, Any], default: Any, *, at: str) -> Any:
        if _given(self._ctx, key):
            return self._ctx.params[key]
        return record.get(at or key, self._ctx.params.get(key, default))

    @property
    def limit(self) -> int | None:
        """None: neither given nor recorded."""
        return cast("int | None", self.setting("limit", None))

    @property
    def has_limit(self) -> bool:
        return "limit" in self._settings

    def seed(self) -> int:
        return int(self._settings.get("seed", self._ctx.params.get("seed", 0)))


def _workspace(ctx: typer.Context) -> Workspace:
    from distill.layout import Workspace

    get = ctx.params.get
    return Workspace(
        runs=Path(get("runs", "runs")),
        name=get("name", "moondream-kd"),
        fresh=bool(get("fresh", False)),  # the default
        command=["harness", *sys.argv[1:]],
    )


def _plan(ctx: typer.Context, *, recorded: bool) -> Plan:
    """What the options say.

    Args:
        recorded: options that choose the questions, and are not written, are as they were when the
            rationales were made.
    """
    quieten_libraries()
    from distill.evaluation import Evaluation
    from distill.pipeline import Plan
    from distill.questions import Questions
    from distill.training.students import Training
    from harness.core.options import ModelOptions
    from harness.core.types import DataOptions
    from harness.run.task_data import Data
    from tasks import load_task

    get = ctx.params.get
    workspace, config = _workspace(ctx), _config(ctx)
    before = _Recorded(ctx, workspace.folder if recorded else None)
    task = load_task(before.data("task", "scienceqa"))
    path = before.data("data", None, at="path")
    options = DataOptions(
        path=Path(path) if path else None,
        split=before.data("split", "train"),
        revision=before.data("revision", None, at="asked_revision"),
    )
    limit = before.limit
    if limit is None and not before.has_limit:
        limit = config.samples
    device = get("device", "auto")
    bertscore = get("bertscore", "none")
    return Plan(
        workspace=workspace,
        questions=Questions(
            data=Data(task, options),
            limit=limit or None,
            sample=_value(before.setting("sample", "first")),
            seed=before.seed(),
        ),
        teaching=_teaching(ctx, before, config),
        training=Training(
            base=ModelOptions(
                model=get("base", "moondream"),
                weights=get("base_weights"),
                size=get("size", Size.full).value,
            ),
            config=config,
            preset=get("preset", Preset.paper).value,
            device=device,
            controls=_controls(ctx, config),
        ),
        evaluation=Evaluation(
            data=Data(
                task,
                DataOptions(
                    path=options.path, split=get("test_split", "test"), revision=options.revision
                ),
            ),
            limit=get("test_limit"),
            batch_size=get("test_batch_size", 4),
            device=device,
            dtype=get("dtype", "auto"),
            max_new_tokens=config.max_new_tokens,
            baseline=not get("no_baseline", False),  # the default
            conclude=get("conclude", False),  # the default
            bertscore=None if bertscore == "none" else bertscore,
        ),
        image_dependence=get("image_dependence", False),  # the default
    )


def _teaching(ctx: typer.Context, before: _Recorded, config: DistillConfig) -> Teaching:
    """Where the rationales come from, and how the teacher is asked."""
    from distill.rationales.collect import Teaching
    from distill.rationales.options import RationaleOptions
    from harness.core.options import ModelOptions

    get = ctx.params.get
    server = _server(ctx)
    return Teaching(
        teacher=ModelOptions(
            model=get("teacher", "llava-cot"),
            weights=get("teacher_weights"),
            chat_template=get("chat_template"),
            size=get("size", Size.full).value,
            device=get("device", "auto"),
            dtype=get("dtype", "auto"),
            server=server,
        ),
        imported=get("imported"),
        options=RationaleOptions(
            inputs=config.teacher_input,
            attempts=before.setting("attempts", 1),
            choose=_value(before.setting("choose", "best")),
            hint_on_retry=before.setting("hint_on_retry", default=False),
            truncate=before.setting("truncate", default=False),
            keep=_value(before.setting("keep", "none", at="filter")),
            temperature=get("temperature", 0.7),
            top_p=get("top_p", 0.95),
            seed=before.seed(),
            batch_size=get("teacher_batch_size") or (server.concurrency if server else 4),
            max_new_tokens=get("teacher_tokens"),
        ),
    )


def _server(ctx: typer.Context) -> ServerOptions | None:
    """How a teacher is asked that a server has; None for one that is loaded here."""
    from harness.core.options import ServerOptions, is_remote

    get = ctx.params.get
    remote = is_remote(get("teacher", ""))
    here = "a --teacher that is loaded here"
    idle = dict.fromkeys(_LOADED, here) if remote else dict.fromkeys(_SERVER, _REMOTE)
    for name, needs in idle.items():
        if _given(ctx, name):
            raise HarnessError(f"--{name.replace('_', '-')} does nothing without {needs}.")
    if not remote:
        return None
    return ServerOptions(
        base_url=get("base_url"),
        concurrency=ctx.params["concurrency"],
        timeout=ctx.params["request_timeout"],
        patience=ctx.params["patience"],
    )


_SERVER = ("base_url", "concurrency", "request_timeout", "patience")
_REMOTE = "--teacher openai:NAME"
_LOADED = ("teacher_weights", "chat_template", "truncate")


def _value(choice: Any) -> Any:
    """The text of an enumeration's member; a text is itself."""
    return choice.value if isinstance(choice, StrEnum) else choice


def _config(ctx: typer.Context) -> DistillConfig:
    """The preset with the fields that options change; raises HarnessError."""
    from distill.config import preset

    get = ctx.params.get
    changes = {name: _value(get(name)) for name in _FIELDS if get(name) is not None}
    for option, field in _LISTS.items():
        if (names := get(option)) is not None:
            changes[field] = _names(names)
    if (limit := get("limit")) is not None:
        changes["samples"] = limit or None
    for text in get("stage_weight") or []:
        stage, value = _pair(text, "--stage-weight", "conclusion=4")
        changes[f"{stage}_weight"] = value
    for field, value in _pairs(get("setting"), "--set", "clip=1.0").items():
        changes[field] = tuple(value) if isinstance(value, list) else value
    return preset(get("preset", Preset.paper).value, **changes)


def _controls(ctx: typer.Context, config: DistillConfig) -> dict[str, DistillConfig]:
    """The control that is asked for; raises HarnessError."""
    from distill.layout import CONTROL

    changes = _pairs(ctx.params.get("control_set"), "--control-set", "learning_rate=1e-5")
    if not ctx.params.get("control"):
        if changes:
            raise HarnessError("--control-set without --control: there is no control to set.")
        return {}
    if config.target == "answer":
        raise HarnessError("--control: the student itself is taught the answers alone.")
    return {CONTROL: config.answers_only(**changes)}


_FIELDS = (
    *("sample", "seed", "target", "learning_rate", "batch_size", "accumulation", "epochs"),
    *("lora_rank", "precision", "parallel", "checkpoint_every", "max_new_tokens"),
)
"""Options that are a field of DistillConfig under the same name."""
_LISTS = {"teacher_input": "teacher_input", "train_parts": "train", "without": "without"}


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _pairs(texts: list[str] | None, option: str, example: str) -> dict[str, Any]:
    return dict(_pair(text, option, example) for text in texts or [])


def _pair(text: str, option: str, example: str) -> tuple[str, Any]:
    """FIELD=VALUE; a value that is JSON is taken as such, any other as text."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise HarnessError(f"{option} {text}: write NAME=VALUE, such as {example}.")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _estimate(plan: Plan, *, as_json: bool) -> None:
    """Show what the plan would take."""
    from distill.pipeline import estimate_plan
    from harness.core.progress import duration

    teacher, found, controls = estimate_plan(plan)
    config, data = plan.training.config, plan.questions.data
    if as_json:
        total = {"memory_total": found.memory_total, "disk_total": found.disk_total}
        shown = {
            "preset": plan.training.preset,
            "config": config.to_json(),
            "rationales": asdict(teacher),
            "controls": {name: asdict(each) for name, each in controls.items()},
        }
        print_json({**asdict(found), **total, **shown})
        return
    asked = "nobody is asked"
    if teacher.remaining:
        speed = (
            "nobody was asked yet: the paper's teacher took 11 s a question"
            if teacher.seconds is None
            else f"{duration(teacher.seconds)} at the speed so far"
        )
        asked = (
            f"{teacher.remaining:,} questions to ask ({speed}), "
            f"at most {plan.teaching.options.attempts} attempts each; taken to get some 200 words "
            "each"
        )
    memory = ", ".join(f"{name} {_gigabytes(size)}" for name, size in found.memory.items())
    disk = ", ".join(f"{name} {_gigabytes(size)}" for name, size in found.disk.items())
    say(
        f"Questions   {len(plan.questions.selected()):,} of {len(data.samples.samples):,} "
        f"({data.samples.source}, {data.options.split})\n"
        f"Rationales  {teacher.rationales:,} are there, {asked}\n"
        f"Training    preset {plan.training.preset}: {found.samples:,} examples, "
        f"{found.steps:,} steps of {config.batch_size}, {found.tokens:,} tokens an epoch; "
        f"{found.trained:,} of {found.parameters:,} parameters\n"
        f"Memory      {_gigabytes(found.memory_total)}: {memory}\n"
        f"Disk        {_gigabytes(found.disk_total)}: {disk}\n"
        f"Time        {duration(found.seconds)} for training, at the measured "
        f"{found.device_flops / 1e12:.2f} TFLOP/s"
    )
    for name, each in controls.items():
        say(f"            {duration(each.seconds)} for {name}, {each.steps:,} steps")
    for reason, count in found.left_out.items():
        say(f"Left out    {count:,}: {reason}")


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.2f} GB"


def _outcome_json(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    return {
        "preset": plan.training.preset,
        "rationales": outcome.rationales,
        "quality": outcome.quality,
        "students": {name: str(folder) for name, folder in outcome.students.items()},
        "overlap": outcome.overlap,
        "runs": [{"folder": str(run.folder), **run.record.to_json()} for run in outcome.runs],
    }


def _print_outcome(plan: Plan, outcome: Outcome) -> None:
    if outcome.rationales:
        _print_rationales(plan, outcome.rationales)
    if outcome.quality:
        _print_quality("The teacher's rationales", outcome.quality["teacher"])
        figures = outcome.quality["students"][plan.workspace.name]
        _print_values(f"Answers of {plan.workspace.name}", figures["structure"])
    for folder in outcome.students.values():
        say(f"Student: {folder} (preset {plan.training.preset})")


def _print_rationales(plan: Plan, record: Mapping[str, Any]) -> None:
    from harness.core.terminal import table

    counts = record["counts"]
    title = (
        f"Rationales by {record['teacher']['name']}, {record['status']}: {counts['kept']:,} kept "
        f"of {counts['selected']:,}, {counts['hinted']:,} after a hint, {counts['failed']:,} failed"
    )
    rows = [
        (topic or "(no topic)", str(each["kept"]), str(each["dropped"]))
        for topic, each in counts["topics"].items()
    ]
    table(title, ("topic", "kept", "dropped"), rows)
    for reason, count in counts["reasons"].items():
        say(f"  {count:,} dropped: {reason}")
    if shortened := counts.get("truncated"):
        say(f"  {shortened:,} asked with a shortened context text")
    say(f"Folder: {plan.workspace.folder}")


def _print_quality(title: str, figures: Mapping[str, Any]) -> None:
    _print_values(title, figures["all"]["measures"])


def _print_values(title: str, values: Mapping[str, Any]) -> None:
    """A table of Values, or of what they are as JSON."""
    from harness.core.terminal import MISSING, table

    rows = []
    for name, value in values.items():
        found = value if isinstance(value, dict) else asdict(value)
        shown = MISSING if found["value"] is None else f"{found['value']:.4g}"
        ends = MISSING if found["low"] is None else f"{found['low']:.3f} to {found['high']:.3f}"
        rows.append((name, shown, ends, f"{found['n']:,}"))
    table(title, ("measure", "value", "95% interval", "n"), rows)


def _training(plan: Plan) -> dict[str, Any]:
    """What distill.json says of the training."""
    record: dict[str, Any] = json.loads((plan.workspace.folder / "distill.json").read_text("utf-8"))
    return record
