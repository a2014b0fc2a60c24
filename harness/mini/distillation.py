"""How Moondream-mini becomes Moondream-kd-mini: it is trained on LLaVA-CoT-mini's rationales.

The demo, the shipped checkpoint and the experiment of docs/miniature.md share this plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.core.options import ModelOptions
from harness.core.types import DataOptions

if TYPE_CHECKING:
    from distill.config import DistillConfig
    from distill.options import EvaluationOptions
    from distill.pipeline import Plan

TASK = "scienceqa-mini"
RUNS = "runs"
"""The folder of the runs, in the folder of the demo."""
TEACHER, STUDENT, DISTILLED = "llava-cot", "moondream", "moondream-kd"
BATCH = 192
"""Questions at once: a process then takes about a gigabyte."""
ANSWERS_ONLY: Mapping[str, Any] = MappingProxyType({"learning_rate": 2e-3})
"""The control's own settings."""
ANSWER_EPOCHS = 3
"""Epochs of answers alone that take as long as one of rationales."""


def plan(
    folder: Path,
    *,
    name: str = DISTILLED,
    samples: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    split: str = "test",
    limit: int | None = None,
    control: bool = True,
    command: Sequence[str] = (),
) -> Plan:
    """The plan of the distillation.

    As a command it would be `harness distill --size mini --preset miniature --task scienceqa-mini
    --filter agrees --control --control-set learning_rate=2e-3 --control-set epochs=9 --no-baseline
    --device cpu --dtype float32`.

    Args:
        samples: questions that the teacher is asked; None: as many as the preset has, as `epochs`
            and `batch_size`, the examples of a step.
        seed: of the order of the training examples.
        split: of the questions that the students answer, at most `limit` of them.
        control: train and ask a student of answers alone as well.
    """
    from distill.config import preset
    from distill.layout import CONTROL, Workspace
    from distill.options import RationaleOptions
    from distill.pipeline import Plan
    from distill.questions import Questions
    from distill.rationales.collect import Teaching
    from distill.training.students import Training
    from harness.run.task_data import Data
    from tasks import load_task

    sizes = {"samples": samples, "epochs": epochs, "batch_size": batch_size}
    config = preset("miniature", seed=seed, **{k: v for k, v in sizes.items() if v})
    task = load_task(TASK)
    teacher = ModelOptions(model=TEACHER, size="mini", device="cpu", dtype="float32")
    return Plan(
        workspace=Workspace(runs=folder / RUNS, name=name, command=command),
        questions=Questions(data=Data(task, DataOptions(split="train")), limit=config.samples),
        teaching=Teaching(
            teacher=teacher,
            options=RationaleOptions(inputs=config.teacher_input, keep="agrees", batch_size=BATCH),
        ),
        training=Training(
            base=replace(teacher, model=STUDENT),
            config=config,
            preset="miniature",
            device="cpu",
            controls={CONTROL: answers_only(config)} if control else {},
        ),
        test=Data(task, DataOptions(split=split)),
        evaluation=_evaluation(limit, config),
    )


def _evaluation(limit: int | None, config: DistillConfig) -> EvaluationOptions:
    """How the students are asked: at most so many questions."""
    from distill.options import EvaluationOptions

    return EvaluationOptions(
        limit=limit,
        batch_size=BATCH,
        device="cpu",
        dtype="float32",
        max_new_tokens=config.max_new_tokens,
        baseline=False,
    )


def answers_only(config: DistillConfig) -> DistillConfig:
    """The settings of the control of a student with these settings."""
    return config.with_objective(
        "answer", **{"epochs": ANSWER_EPOCHS * config.epochs, **ANSWERS_ONLY}
    )
