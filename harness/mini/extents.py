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
    """Test questions with options: the first, in which topics take turns; None: all."""
    open_questions: int | None
    """The same of the open ones."""
    rationales: int
    """Training questions that the teacher is asked."""
    epochs: int
    """Passes of the student over what it is taught."""
    batch_size: int
    """Examples of a step."""
    student: str
    """The student's name."""
    models: tuple[str, ...]
    """The models that answer both tasks."""
    control: bool
    """Train and ask a student of answers alone as well."""

    def limit(self, task: str) -> int | None:
        """How many questions of a task are asked; None: all."""
        return self.open_questions if task == OPEN else self.questions


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
    questions=525,
    open_questions=125,
    rationales=2000,
    epochs=3,
    batch_size=8,
    student=DISTILLED,
    models=MODELS,
    control=True,
)
"""Half of each test set, and the smallest distillation that shows what rationales are worth: see
docs/miniature.md."""
FULL = replace(DEMO, questions=None, open_questions=None, rationales=6300, batch_size=32)
"""All test questions, and the preset's sizes: all questions of the train split."""
QUICK = Extent(
    questions=35,
    open_questions=35,
    rationales=64,
    epochs=3,
    batch_size=32,
    student=f"{DISTILLED}-quick",
    models=(*MODELS, DISTILLED),  # the shipped one: 64 rationales teach nothing
    control=False,
)
