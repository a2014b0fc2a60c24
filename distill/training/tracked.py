"""What the trackers of a training are given: its configuration, examples, and every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distill.config import DistillConfig
from distill.examples import Example
from distill.objectives import objective_of
from harness.core import environment
from harness.core.errors import SampleError
from harness.core.types import Sample
from harness.run.tracked import picture_of, text, without_folders
from harness.tracking.tracker import Picture, Table
from harness.tracking.trackers import Trackers

AXIS = "train/step"
"""What a step of a training counts."""
EXAMPLES = 8
"""The most examples that are logged with their pictures."""


def begin(
    trackers: Trackers,
    config: DistillConfig,
    examples: Sequence[Example],
    *,
    record: Mapping[str, Any],
    step: int,
) -> None:
    """Start the trackers, and log some examples with what is learned of them.

    Args:
        record: distill.json.
        step: that was taken last.
    """
    about = {key: record[key] for key in ("base", "steps", "counts") if key in record}
    about["counts"] = {k: v for k, v in about.get("counts", {}).items() if k != "left_out_ids"}
    parts = {"training": config.to_json(), **about, "environment": environment.describe(None)}
    trackers.begin(without_folders(parts), step=step)
    if step == 0:
        pictures = _pictures(examples[: min(EXAMPLES, trackers.samples)], config)
        trackers.log_pictures("examples", pictures, step=step)


def _pictures(examples: Sequence[Example], config: DistillConfig) -> list[Picture]:
    objective = objective_of(config)
    found = []
    for example in examples:
        try:
            learned = "\n".join(target.text for target in objective.targets(example))
        except SampleError:
            continue
        caption = text(f"{example.sample.question}\n{learned}")
        if picture := picture_of(example.sample, caption):
            found.append(picture)
    return found


def log_step(trackers: Trackers, line: Mapping[str, Any]) -> None:
    """Log a step by its line of the training's log."""
    seconds = line["seconds"]
    values = {
        AXIS: line["step"],
        "train/loss": line["loss"],
        "train/learning_rate": line["lr"],
        "train/grad_norm": line["grad_norm"],
        "train/tokens_per_second": line["tokens"] / seconds if seconds else None,
        "train/memory_gb": line["memory"] / 1e9,
    }
    trackers.log_metrics(values, step=line["step"])


def log_evaluation(
    trackers: Trackers, line: Mapping[str, Any], samples: Mapping[str, Sample]
) -> None:
    """Log an evaluation by its line of the validation log, with its answers.

    Args:
        samples: by id, for their pictures.
    """
    without = line["without_pictures"] or {"scores": {}, "loss": None}
    sight = line["sight"] or {}
    values: dict[str, float | None] = {
        AXIS: line["step"],
        "validation/loss": line["loss"],
        "validation/loss_without_pictures": without["loss"],
        "validation/picture_gain": sight.get("gain"),
        "validation/tokens_per_second": line["tokens_per_second"],
        "validation/memory_gb": line["memory"] / 1e9,
        "validation/best": float(line["best"]),
    }
    for name, value in line["scores"].items():
        values[f"validation/{text(name)}"] = value
    for name, value in without["scores"].items():
        values[f"validation/{text(name)}_without_pictures"] = value
    trackers.log_metrics(values, step=line["step"])
    columns = ("id", "picture", "question", "gold", "answer", "output", "without_picture")
    rows = [
        [
            text(each["id"]),
            picture_of(samples[each["id"]]),
            *(text(each[name]) for name in ("question", "gold", "answer")),
            text(each["error"] or each["raw"]),
            text(each["without_picture"] or ""),
        ]
        for each in line["answers"][: trackers.samples]
    ]
    if rows:
        trackers.log_table("validation", Table(columns=columns, rows=rows), step=line["step"])
