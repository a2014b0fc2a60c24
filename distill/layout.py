"""The files of a distillation by name: what the stages write, the page reads.

    RUNS/distill/NAME/attempts.jsonl ...    see distill.rationales.store
    RUNS/distill/NAME/logits.json ...       see distill.rationales.logits
    RUNS/distill/NAME/quality.json          measures of the teacher's and the students' rationales
    RUNS/distill/NAME/distill.json ...      see distill.training.train
    RUNS/distill/NAME-answer-only/...       the control

It imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from harness.core.declarations import OUTPUT, Option
from harness.core.files.paths import safe_name
from harness.core.options import Fresh, Runs
from harness.core.tracking_options import TrackingOptions
from harness.weights import students

ATTEMPTS, KEPT, REJECTED, RATIONALES = (
    "attempts.jsonl",
    "rationales.jsonl",
    "rejected.jsonl",
    "rationales.json",
)
LOGITS, LOGITS_RECORD = "logits", "logits.json"
GAINS = "gains.jsonl"
QUALITY = "quality.json"
DEPENDENCE = "dependence.json"
DISTILLATIONS = students.DISTILLATIONS
TRAINING, LOG, CURVE = students.TRAINING, "training_log.jsonl", "loss.svg"
CHECKPOINTS, FEATURES, STUDENT = "checkpoints", "features", "student"
ADAPTER = "adapter"
"""The LoRA adapter by itself; in the student it is merged."""
EVALUATIONS = "validation_log.jsonl"
"""One line for each evaluation while the student trains."""
BEST = "best"
"""The weights of the best student so far, by the step after which it was evaluated."""
SIGHT = "sight.json"
"""Whether the student looks at its pictures: see distill.quality.sight."""
CONFIG, CARD = "distill_config.json", "README.md"
"""In the student's folder."""
CONTROL = "-answer-only"
"""Suffix of the student that learns the answers alone."""


def folder_of(runs: Path, name: str) -> Path:
    """The folder of the distillation `name`."""
    return runs / DISTILLATIONS / safe_name(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Where a distillation is kept, and whether what is there is replaced."""

    runs: Runs
    name: Annotated[str, Option("Name of the student, and of its folder.", panel=OUTPUT)]
    fresh: Fresh = False
    push_to_hub: Annotated[
        str | None,
        Option(
            "Send the trained student with its card, licences and scores to this repository of the "
            "Hub, which is made private where it is new. Default: send nothing.",
            panel=OUTPUT,
            metavar="ORG/NAME",
        ),
    ] = None
    rationales_of: str = ""
    """The distillation whose rationales are learned; "": this one."""
    tracking: TrackingOptions = field(default_factory=TrackingOptions)
    """How the training of the students and their evaluation are tracked."""
    command: Sequence[str] = ()
    """The command line, for the records."""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """Every option by its name, for the records."""

    @property
    def folder(self) -> Path:
        return folder_of(self.runs, self.name)

    @property
    def rationales(self) -> Path:
        """The folder of the rationales that are learned, and of the teacher's logits."""
        return folder_of(self.runs, self.rationales_of or self.name)
