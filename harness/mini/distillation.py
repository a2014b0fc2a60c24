"""How Moondream-mini becomes Moondream-kd-mini: LLaVA-CoT-mini writes, it learns.

It is what `harness distill --size mini --preset miniature --filter agrees` does.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.types import DataOptions

if TYPE_CHECKING:
    from distill.pipeline import Plan

TASK = "scienceqa-mini"
TEACHER, STUDENT, DISTILLED = "llava-cot", "moondream", "moondream-kd"
BATCH = 64


def plan(folder: Path, *, seed: int = 0) -> Plan:
    """The plan of it, in `folder`/runs. `seed`: of the order in which the student sees its
    examples."""
    from distill import pipeline
    from distill.attempts import RationaleOptions
    from distill.config import preset
    from harness.evaluate import Data, ModelOptions
    from tasks import load_task

    config = preset("miniature", seed=seed)
    task, runs = load_task(TASK), folder / "runs"
    mini = ModelOptions(model=TEACHER, size="mini", device="cpu", dtype="float32")
    return pipeline.Plan(
        name=DISTILLED,
        runs=runs,
        data=Data(task, DataOptions(split="train")),
        test=Data(task, DataOptions()),
        teacher=mini,
        imported=None,
        asking=RationaleOptions(
            folder=pipeline.folder_of(runs, DISTILLED),
            inputs=config.teacher_input,
            keep="agrees",
            limit=config.samples,
            batch_size=BATCH,
        ),
        base=replace(mini, model=STUDENT),
        config=config,
        preset="miniature",
        device="cpu",
        dtype="float32",
        baseline=False,
        conclude=False,
        controls={},
        dependence=False,
        test_limit=None,
        test_batch_size=BATCH,
        bertscore=None,
        out=folder / "leaderboard.html",
        fresh=False,
        command=(),
    )
