"""Names of the files and folders below a results folder; every other module imports them from here.

RUNS/TASK/MODEL/SPLIT/        one run, see harness.run.folder
run.json                  what was run, its metrics and its state
predictions.jsonl         one line for each answer
beyond-limit.jsonl        answers that the last --limit leaves out
shards/                   answers of several processes until they are gathered
RUNS/distill/NAME/            one distillation: its rationales and the training of its student
RUNS/distill/NAME-answer-only/  the control, trained on the answers alone
"""

from __future__ import annotations

RUN_RECORD = "run.json"
PREDICTIONS = "predictions.jsonl"
BEYOND_LIMIT = "beyond-limit.jsonl"
SHARDS = "shards"
CLAIMS = "claims"
"""In `SHARDS`: one byte for each sample, locked by the process that answers it."""

DISTILLATIONS = "distill"
CONTROL = "-answer-only"
"""Suffix of the name of the student that is trained on answers alone."""
ATTEMPTS = "attempts.jsonl"
RATIONALES = "rationales.jsonl"
REJECTED = "rejected.jsonl"
RATIONALES_RECORD = "rationales.json"
QUALITY = "quality.json"
DEPENDENCE = "dependence.json"
TRAINING_RECORD = "distill.json"
TRAINING_LOG = "training_log.jsonl"
TRAINING_CONFIG = "distill_config.json"
LOSS_CURVE = "loss.svg"
CHECKPOINTS = "checkpoints"
FEATURES = "features"
STUDENT = "student"
