"""The files of a distillation by name: what the stages write, the page reads.

    RUNS/distill/NAME/attempts.jsonl ...    see distill.rationales.store
    RUNS/distill/NAME/quality.json          measures of the teacher's and the students' rationales
    RUNS/distill/NAME/distill.json ...      see distill.training.train
    RUNS/distill/NAME-answer-only/...       the control

It imports nothing heavy.
"""

from __future__ import annotations

from pathlib import Path

from harness.core.files.paths import safe_name

ATTEMPTS, KEPT, REJECTED, RATIONALES = (
    "attempts.jsonl",
    "rationales.jsonl",
    "rejected.jsonl",
    "rationales.json",
)
QUALITY = "quality.json"
TRAINING, LOG, CURVE = "distill.json", "training_log.jsonl", "loss.svg"
CHECKPOINTS, FEATURES, STUDENT = "checkpoints", "features", "student"
CONFIG, CARD = "distill_config.json", "README.md"
"""In the student's folder."""
CONTROL = "-answer-only"
"""Suffix of the student that learns the answers alone."""


def folder_of(runs: Path, name: str) -> Path:
    """The folder of the distillation `name`."""
    return runs / "distill" / safe_name(name)
