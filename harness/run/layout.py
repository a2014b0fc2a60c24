"""The files of a run by name.

    RUNS/TASK/MODEL/SPLIT/run.json             what was run, its metrics and its state
    RUNS/TASK/MODEL/SPLIT/predictions.jsonl    one line for each answer
    RUNS/TASK/MODEL/SPLIT/beyond-limit.jsonl   answers that the last --limit leaves out
    RUNS/TASK/MODEL/SPLIT/judgements.jsonl     what judges say of them, see harness.run.judgements
    RUNS/TASK/MODEL/SPLIT/shards/              several processes' answers, see harness.run.shards
    RUNS/TASK/MODEL/SPLIT/status.json          how far the run is, see harness.run.status
    RUNS/TASK/MODEL/SPLIT/tracking.json        by what its trackers know it, see harness.tracking

It imports nothing heavy.
"""

from __future__ import annotations

RUN_RECORD = "run.json"
PREDICTIONS = "predictions.jsonl"
BEYOND_LIMIT = "beyond-limit.jsonl"
STATUS = "status.json"
JUDGEMENTS = "judgements.jsonl"
LOCK = ".lock"
SHARDS = "shards"
CLAIMS = "claims"
"""In `SHARDS`: one byte for each sample, locked by the process that answers it."""
LAUNCH = ".launch"
"""Which start of several processes has moved the previous run aside."""
