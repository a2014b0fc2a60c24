"""How large the demo is: its models, questions, rationales and epochs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.mini.distillation import DISTILLED, RUNS, STUDENT, TASK, TEACHER

if TYPE_CHECKING:
    from harness.run.folder import RunFolder

CHOICE, OPEN = TASK, "vqaonline-mini"
MODELS = (TEACHER, STUDENT, "phi-3.5", "llava-next", "kosmos-2", "vilt")
"""The models that answer both tasks before the distillation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How many questions, rationales and models the demo has."""

    questions: int | None
    """The first of each test set, in which topics take turns; None: all."""
    rationales: int
    """Training questions that the teacher is asked."""
    epochs: int
    """Passes of the student over what it is taught."""
    student: str
    """The student's name."""
    models: tuple[str, ...]
    """The models that answer both tasks."""
    control: bool
    """Train and ask a student of answers alone as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What every stage is given."""

    folder: Path
    extent: Extent
    command: tuple[str, ...]

    @property
    def runs(self) -> Path:
        return self.folder / RUNS

    def run(self, name: str) -> RunFolder:
        """A model's run on the questions with options."""
        from harness.run.folder import RunFolder

        return RunFolder.of(self.runs, task=CHOICE, model=name, split="test")


DEMO = Extent(
    questions=None, rationales=3000, epochs=3, student=DISTILLED, models=MODELS, control=True
)
"""The smallest distillation that shows what rationales are worth: see docs/miniature.md."""
FULL = replace(DEMO, rationales=6300)
"""The preset's: all questions of the train split."""
QUICK = Extent(
    questions=35,
    rationales=64,
    epochs=3,
    student=f"{DISTILLED}-quick",
    models=(*MODELS, DISTILLED),  # the shipped one: 64 rationales teach nothing
    control=False,
)
