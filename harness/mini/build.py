"""Build a mini: train it, measure it on the validation split, and write its card.

    OUT/                 the checkpoint in its published layout
    OUT/README.md        its card; every figure in it was measured by this run
    OUT/mini.json        marks it, and whatever is trained from it, as a mini

Moondream-kd is not pretrained but distilled: from Moondream, by the project's own
`harness distill`, with the rationales of LLaVA-CoT.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.checkpoints.catalog import ModelSpec, find
from harness.checkpoints.checkpoint import MINI_MARK
from harness.checkpoints.folder import SUFFIXES, tensor_shapes
from harness.checkpoints.quantized import quantize
from harness.core import progress
from harness.core.errors import HarnessError
from harness.core.files.atomic import temporary_folder
from harness.core.files.json_files import load_json
from harness.core.files.jsonl import whole_lines
from harness.core.options import GenerationOptions, ModelOptions, RunOptions
from harness.core.progress import Make
from harness.core.types import DataOptions, Value
from harness.mini.distillation import DISTILLED
from harness.mini.recipes import RECIPES
from harness.run.evaluate import evaluate
from harness.run.records import RunRecord
from harness.run.task_data import Data
from harness.sources.weights import Weights
from harness.synthetic.questions import open_questions
from harness.synthetic.questions import questions as choice_questions
from tasks import load_task

if TYPE_CHECKING:
    from harness.mini.examples import TrainingQuestions

TASKS = ("scienceqa-mini", "vqaonline-mini")
SEEDS = 2
"""Seeds of the choice questions that a mini learns from; the first is the task's train split."""
MAX_NEW_TOKENS = 320
"""Enough for the longest rationale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """Which mini, and where it is written."""

    name: str
    """A row of the catalogue."""
    out: Path
    seed: int = 0
    keep: Path | None = None
    """A folder for the weights after each stage; an interrupted training resumes from them."""
    threads: int = 1
    command: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSummary:
    """What a card says about the training."""

    method: str
    learned: str
    data: str
    seconds: float
    """CPU time."""
    table: Sequence[str]
    """Lines of Markdown."""


def training_questions() -> TrainingQuestions:
    """All questions that minis learn from, of the train split."""
    from harness.mini.examples import TrainingQuestions

    return TrainingQuestions(
        choice=[item for seed in range(SEEDS) for item in choice_questions("train", seed)],
        open=open_questions("train"),
        choice_task=load_task(TASKS[0]),
        open_task=load_task(TASKS[1]),
    )


def build_mini(settings: BuildSettings, *, show: Make = progress.make) -> Path:
    """Train a mini and write it with its card; returns its folder, which appears complete.

    Raises:
        HarnessError: there is no such mini, or something is there already.
    """
    import torch

    spec = find(settings.name)
    if spec is None or not (spec.role == "distilled" or spec.name in RECIPES):
        raise HarnessError(
            f"There is no recipe for {settings.name}.",
            known=f"There are {', '.join([*RECIPES, DISTILLED])}.",
        )
    out = settings.out
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise HarnessError(f"{out} is there already.", remedy="Name another folder with --out.")
    if settings.keep and settings.keep.resolve().is_relative_to(out.resolve()):
        raise HarnessError(f"--keep {settings.keep} is in --out {out}.", remedy="Keep them apart.")
    torch.set_num_threads(settings.threads)
    with temporary_folder(out) as aside:
        made = aside / "checkpoint"
        train = _distill if spec.role == "distilled" else _pretrain
        training = train(settings, made, show)
        quantize(made)
        write_mark(made, spec.name)
        card = _card(spec, settings, made, training, measure(spec.name, made))
        (made / "README.md").write_text(card, encoding="utf-8")
        made.rename(out)
    return out


def _pretrain(settings: BuildSettings, made: Path, show: Make) -> TrainingSummary:
    from harness.mini.pretraining import pretrain

    questions = training_questions()
    results = pretrain(
        settings.name,
        made,
        questions=questions,
        seed=settings.seed,
        keep=settings.keep,
        progress=show,
    )
    data = (
        f"{len(questions.choice):,} choice questions and {len(questions.open):,} open ones of the "
        f"train split, {SEEDS} seeds of the first; no picture of validation or test"
    )
    return TrainingSummary(
        method="trained from random weights on synthetic pictures",
        learned=RECIPES[settings.name].learned,
        data=data,
        seconds=sum(r.seconds for r in results),
        table=[
            "| stage | steps | peak rate | rows of a step | loss at its end | CPU seconds |",
            "|---|---|---|---|---|---|",
            *(
                f"| {r.stage.name} | {r.steps} | {r.stage.rate:g} | {_mix(r.stage.mix)} | "
                f"{r.loss:.3f} | {r.seconds:.0f} |"
                for r in results
            ),
        ],
    )


def _distill(settings: BuildSettings, made: Path, show: Make) -> TrainingSummary:
    """Distill the student from the shipped teacher's rationales, as `harness distill` does."""
    from distill.layout import LOG, TRAINING
    from distill.rationales.collect import collect_rationales
    from distill.rationales.kept import load_examples
    from distill.training.students import train_student
    from harness.mini import distillation

    del show  # the pipeline shows its own
    started = time.process_time()
    with tempfile.TemporaryDirectory() as aside:
        plan = distillation.plan(settings.keep or Path(aside), seed=settings.seed, control=False)
        workspace, questions = plan.workspace, plan.questions
        counts = collect_rationales(workspace, questions, plan.teaching)["counts"]
        examples = load_examples(workspace, questions)
        student = train_student(workspace, questions, plan.training, examples=examples)
        made.mkdir()
        for path in sorted(student.iterdir()):
            if path.suffix in SUFFIXES and path.name != MINI_MARK:
                shutil.copyfile(path, made / path.name)
        steps = len(list(whole_lines(workspace.folder / LOG)))
        record = load_json(workspace.folder / TRAINING)
    config = plan.training.config
    loss = f"{record['losses']['mean_of_last_tenth']:.3f}"
    row = (steps, config.batch_size, f"{config.learning_rate:g}", config.epochs, loss)
    return TrainingSummary(
        method="distilled from Moondream-mini by `harness distill`",
        learned=(
            "Taught to write LLaVA-CoT-mini's rationales: summary, caption, reasoning and "
            "conclusion, the conclusion being the right letter. The vision encoder is the base's."
        ),
        data=(
            f"LLaVA-CoT-mini's rationales on the first {counts['selected']:,} questions of the "
            f"train split, asked with the question alone; the {counts['kept']:,} that agree with "
            "the answer"
        ),
        seconds=time.process_time() - started,
        table=[
            "| steps | batch | peak rate | epochs | loss of the last tenth |",
            "|---|---|---|---|---|",
            f"| {' | '.join(map(str, row))} |",
        ],
    )


def write_mark(folder: Path, name: str) -> None:
    """Write the file that marks a checkpoint as a mini, with its number of parameters and the style
    that it answers bare questions in, where it is not its row's."""
    parameters = sum(math.prod(shape) for shape in tensor_shapes(folder).values())
    mark: dict[str, Any] = {"model": name, "parameters": parameters, "synthetic": True}
    if name in RECIPES and RECIPES[name].style:
        mark["style"] = RECIPES[name].style
    (folder / MINI_MARK).write_text(json.dumps(mark, indent=1) + "\n", encoding="utf-8")


def measure(
    name: str, folder: Path, *, split: str = "validation", limit: int | None = None
) -> dict[str, RunRecord]:
    """Task -> the record of its evaluation."""
    records = {}
    with tempfile.TemporaryDirectory() as runs:
        for task in TASKS:
            options = ModelOptions(
                model=name,
                weights=str(folder),
                device="cpu",  # as they were trained: the same figures wherever they are made
                dtype="float32",
            )
            data = Data(load_task(task), DataOptions(split=split))
            settings = RunOptions(
                runs=Path(runs),
                batch_size=32,
                limit=limit,
                generation=GenerationOptions(max_new_tokens=MAX_NEW_TOKENS),
            )
            records[task] = evaluate(Weights(options), data, settings).record
    return records


def _card(
    spec: ModelSpec,
    settings: BuildSettings,
    made: Path,
    training: TrainingSummary,
    records: Mapping[str, RunRecord],
) -> str:
    parameters = load_json(made / MINI_MARK)["parameters"]
    first = (
        f"A miniature of {spec.title} for trying the harness: the same classes, processors and "
        f"prompts at {parameters:,} parameters, {training.method}. It answers the synthetic "
        "questions of scienceqa-mini and vqaonline-mini and nothing else; its scores say nothing "
        "about the published model."
    )
    threads = "one thread" if settings.threads == 1 else f"{settings.threads} threads"
    return "\n".join(
        [
            f"# {spec.title}-mini",
            "",
            first,
            "",
            training.learned,
            "",
            f"- Made by: `{' '.join(settings.command)}`",
            f"- Seed: {settings.seed}",
            f"- Time: {training.seconds / 60:.1f} CPU minutes of training, on {threads}",
            f"- Data: {training.data}",
            "- Precision: trained in float32, kept in eight bits with a scale for each row",
            "- Licence: Apache-2.0",
            "",
            "## Validation, mini (synthetic)",
            "",
            "| task | figure | value | 95% interval | n |",
            "|---|---|---|---|---|",
            *figures(records),
            "",
            "## Training",
            "",
            *training.table,
            "",
        ]
    )


def _mix(mix: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in mix.items())


def figures(records: Mapping[str, RunRecord]) -> list[str]:
    """A row of the table for every metric of the records."""
    return [
        f"| {task} | {name} | {value.value:.3f} | {_interval(value)} | {value.n} |"
        for task, record in records.items()
        for name, value in record.metrics.items()
        if value.value is not None
    ]


def _interval(value: Value) -> str:
    return "" if value.low is None or value.high is None else f"{value.low:.3f} to {value.high:.3f}"
