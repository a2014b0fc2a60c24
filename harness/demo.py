"""`harness demo`: the whole way from questions to the page, with nothing to download.

The questions are drawn by the package and the checkpoints have random weights, so their accuracy is
that of guessing: what the demo shows is the machinery, the record and the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.types import DataOptions

if TYPE_CHECKING:
    from harness.scoring import Run

MODELS = ("llava-next", "moondream", "phi-3.5")
TASK = "scienceqa-mini"
QUESTIONS = 70
"""Ten of each topic."""


def run(folder: Path, *, command: Sequence[str]) -> list[Run]:
    """Build the checkpoints and evaluate them; all under `folder`.

    What is there is used again, so that an interrupted demo goes on where it was.
    """
    from harness import evaluate
    from harness.models.tiny import build
    from tasks import load_task

    data = evaluate.Data(load_task(TASK), DataOptions())
    runs = []
    for name in MODELS:
        weights = folder / "checkpoints" / f"{name}-tiny-random"
        if not (weights / "config.json").exists():
            build(name, weights)
        runs.append(
            evaluate.evaluate(
                # What they write can be read by nobody; which option they find likeliest, can.
                evaluate.Weights(evaluate.ModelOptions(model=str(weights), mode="loglikelihood")),
                data,
                evaluate.RunOptions(
                    runs=folder / "runs",
                    limit=QUESTIONS,
                    sample="stratified",
                    batch_size=16,
                    command=command,
                ),
            )
        )
    return runs
