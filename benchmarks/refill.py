"""What it is worth to refill slots several at a time: the engine's REFILL_FRACTION against 0.

    python benchmarks/refill.py --rounds 3

The same questions by the same miniature, in turn; every answer has to be the same. The last line of
stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from harness.core.environment import describe
from harness.core.options import ModelOptions, RunOptions
from harness.core.types import DataOptions
from harness.engine import continuous_batching
from harness.run.evaluate import evaluate
from harness.run.folder import RunFolder
from harness.run.task_data import Data
from harness.sources.weights import Weights
from tasks import load_task

CASES = (
    ("llava-cot", "scienceqa-mini", 64),
    ("llava-cot", "scienceqa-mini", 16),
    ("moondream-kd", "scienceqa-mini", 64),
    ("phi-3.5", "vqaonline-mini", 16),
    ("moondream", "scienceqa-mini", 64),
)
AT_ONCE = 0.0
"""A fraction that is always free: a slot is filled as soon as it is free."""


def measure(model: str, task: str, batch: int, share: float) -> tuple[float, list[str]]:
    """Seconds of answering the test split, and the answers."""
    continuous_batching.REFILL_FRACTION = share
    with tempfile.TemporaryDirectory() as runs:
        run = evaluate(
            Weights(ModelOptions(model=model, size="mini", device="cpu", dtype="float32")),
            Data(load_task(task), DataOptions()),
            RunOptions(runs=Path(runs), batch_size=batch, workers=0),
        )
        session = run.record.sessions[-1]
        answers = [p.raw for p in RunFolder(run.folder).read_predictions()]
    return session["answered_until"] - session["answered_from"], answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    usual = continuous_batching.REFILL_FRACTION
    report = []
    for model, task, batch in CASES:
        seconds: dict[float, list[float]] = {AT_ONCE: [], usual: []}
        found = set()
        for _ in range(arguments.rounds):
            for share, times in seconds.items():
                took, answers = measure(model, task, batch, share)
                times.append(took)
                found.add(tuple(answers))
        before, after = (min(times) for times in seconds.values())
        print(f"{model} {task} batch {batch}: {before:.1f} s, {after:.1f} s, {before / after:.2f}x")
        report.append({
            "model": model, "task": task, "batch": batch, "at_once": seconds[AT_ONCE],
            "share": seconds[usual], "same_answers": len(found) == 1,
        })  # fmt: skip
    day = time.strftime("%Y-%m-%d")
    print(json.dumps({"cases": report, "machine": describe("cpu"), "date": day}))


if __name__ == "__main__":
    main()
