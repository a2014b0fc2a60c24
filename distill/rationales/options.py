"""How a teacher is asked for rationales, and which of them are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from distill.config import TeacherInput
from distill.rationales.prompt import INPUTS
from harness.core.errors import HarnessError
from harness.core.types import Task

Filter = Literal["none", "format", "agrees"]
"""none: any text at all. format: the four stages, each filled, once and in order. agrees: format,
and the teacher's own conclusion is the gold answer."""
Choose = Literal["best", "first"]
"""best: make all attempts and keep the one that scores highest. first: stop at the first that
passes the filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RationaleOptions:
    """What the teacher is given, how often it is asked, and what is kept."""

    inputs: Sequence[TeacherInput] = INPUTS
    """In addition to the image."""
    attempts: int = 1
    """Per question: the first greedy, the others sampled."""
    choose: Choose = "best"
    hint_on_retry: bool = False
    """Ask once more, with the answer as a hint, where every attempt was rejected."""
    truncate: bool = False
    """Shorten the context text of prompts beyond the teacher's context."""
    keep: Filter = "none"
    temperature: float = 0.7
    """Of sampled attempts, as `top_p` and `seed`."""
    top_p: float = 0.95
    seed: int = 0
    batch_size: int = 4
    max_new_tokens: int | None = None
    """Of each rationale; None: the teacher's own limit."""

    def check(self, task: Task) -> None:
        """Refuse, before anything is loaded, what cannot be asked; raises HarnessError."""
        check_filter(self.keep, task)
        if not self.inputs:
            raise HarnessError(
                "--teacher-input names nothing.", known=f"Known: {', '.join(INPUTS)}."
            )

    def rounds(self) -> list[Round]:
        """Every pass over the questions that may be needed, in order."""
        plain = [Round(number, hinted=False) for number in range(1, self.attempts + 1)]
        return [*plain, Round(1, hinted=True)] if self.hint_on_retry else plain


@dataclass(frozen=True, slots=True)
class Round:
    """One pass of the teacher over the questions."""

    number: int
    hinted: bool


def check_filter(keep: Filter, task: Task) -> None:
    """Refuse a filter that the task's answers cannot be judged by; raises HarnessError."""
    if keep == "agrees" and task.answers == "text":
        raise HarnessError(
            f"--filter agrees compares options; {task.title} has written answers.",
            remedy="--filter format",
        )
