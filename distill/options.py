"""How a teacher is asked for rationales, which of them are kept, and how students are evaluated:
each option declared once. Training has `distill.config`."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Annotated, Any, Literal

from distill.config import INPUTS, TeacherInput
from distill.needs import GAINS, SEVERAL, WRITES
from distill.rationales.selection import METHODS, Choose, help_text
from harness.core.declarations import EVALUATION, TEACHER, Option, option_of
from harness.core.errors import HarnessError
from harness.core.options import BertScore, GenerationOptions
from harness.core.types import Task

Filter = Literal["none", "format", "coherent", "agrees"]
"""none: any text at all. format: the four stages, each filled, once and in order. coherent: format,
and the reasoning arrives at no other option than the right one, which is the conclusion that the
student learns. agrees: format, and the teacher's own conclusion is the gold answer."""
Share = Literal["all", "split"]
TEACHER_SCORES = "teacher"
_BATCH_SIZE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RationaleOptions:
    """What the teacher is given, how often it is asked, and what is kept."""

    inputs: Sequence[TeacherInput] = INPUTS
    """In addition to the image."""
    attempts: Annotated[
        int,
        Option(
            "Attempts per question: the first greedy, the others sampled.",
            panel=TEACHER,
            minimum=1,
            maximum=99,
            needs=(WRITES,),
        ),
    ] = 1
    choose: Annotated[
        Choose,
        Option(
            f"Which of several attempts that pass the filter to keep: {help_text()}.",
            panel=TEACHER,
        ),
    ] = "best"
    gain_by: Annotated[
        str,
        Option(
            "The model whose likelihoods --choose gain compares: teacher, the first one; or a "
            "model of `harness list models` or a folder, such as the student before training.",
            panel=TEACHER,
            needs=(GAINS,),
        ),
    ] = TEACHER_SCORES
    share: Annotated[
        Share,
        Option(
            "With several --teacher: ask each of them every question (all), or split the questions "
            "evenly among them.",
            panel=TEACHER,
            flag="teacher-share",
            needs=(SEVERAL, WRITES),
        ),
    ] = "all"
    hint_on_retry: Annotated[
        bool,
        Option(
            "Ask once more, with the answer as a hint, where every attempt was rejected.",
            panel=TEACHER,
            needs=(WRITES,),
        ),
    ] = False
    truncate: Annotated[
        bool, replace(option_of(GenerationOptions, "truncate"), panel=TEACHER, needs=(WRITES,))
    ] = False
    keep: Annotated[
        Filter,
        Option(
            "Rationales to keep: any text (none; the paper reports no filter), those with the four "
            "stages (format), of these those whose reasoning arrives at no other option than the "
            "right one (coherent), or those that conclude the right answer (agrees).",
            panel=TEACHER,
            flag="filter",
        ),
    ] = "none"
    temperature: Annotated[
        float,
        Option("Temperature of sampled attempts.", panel=TEACHER, minimum=0.01, needs=(WRITES,)),
    ] = 0.7
    top_p: Annotated[
        float,
        Option(
            "Nucleus of sampled attempts: the share of probability that tokens are drawn from.",
            panel=TEACHER,
            minimum=0.0001,
            maximum=1,
            needs=(WRITES,),
        ),
    ] = 0.95
    seed: int = 0
    """Of sampled attempts."""
    batch_size: Annotated[
        int | None,
        Option(
            "Questions that the teacher is asked at once. Default: 4; for a server its "
            "--concurrency.",
            panel=TEACHER,
            flag="teacher-batch-size",
            minimum=1,
            needs=(WRITES,),
        ),
    ] = None
    max_new_tokens: Annotated[
        int | None,
        Option(
            "Maximum number of tokens of a rationale. Default: the teacher's own limit.",
            panel=TEACHER,
            flag="teacher-tokens",
            minimum=1,
            needs=(WRITES,),
        ),
    ] = None

    @classmethod
    def recorded(cls, settings: Mapping[str, Any]) -> RationaleOptions:
        """What the settings of rationales.json say of the attempts, and of which are kept."""
        names = {
            "attempts": "attempts",
            "choose": "choose",
            "gain_by": "gain_by",
            "teacher_share": "share",
            "hint_on_retry": "hint_on_retry",
            "truncate": "truncate",
            "filter": "keep",
        }
        return cls(**{names[key]: value for key, value in settings.items() if key in names})

    @property
    def rows(self) -> int:
        """Questions that the teacher is asked at once."""
        return self.batch_size or _BATCH_SIZE

    def check(self, task: Task) -> None:
        """Refuse, before anything is loaded, what cannot be asked; raises HarnessError."""
        check_filter(self.keep, task)
        if not self.inputs:
            raise HarnessError(
                "--teacher-input names nothing.", known=f"Known: {', '.join(INPUTS)}."
            )

    @property
    def stops(self) -> bool:
        """Whether nobody is asked again where an attempt has passed the filter."""
        return METHODS[self.choose].stops

    @property
    def scores_by_model(self) -> bool:
        """Whether a model scores the attempts."""
        return METHODS[self.choose].scored_by_model

    def gives(self, sample_id: str, teacher: str, teachers: Sequence[str]) -> bool:
        """Whether one of several teachers is asked a question. Whose it is goes by its id, so that
        another limit leaves it where it was."""
        if self.share == "all":
            return True
        number = int.from_bytes(sha256(sample_id.encode()).digest()[:8], "big")
        return teachers[number % len(teachers)] == teacher

    def rounds(self, teachers: Sequence[str]) -> list[Round]:
        """Every pass over the questions that may be needed, in order: a teacher's attempts come one
        after the other, the hints at the end."""
        plain = [
            Round(number, hinted=False, teacher=name)
            for name in teachers
            for number in range(1, self.attempts + 1)
        ]
        hinted = [Round(1, hinted=True, teacher=name) for name in teachers]
        return [*plain, *hinted] if self.hint_on_retry else plain


@dataclass(frozen=True, slots=True)
class Round:
    """One pass of a teacher over the questions."""

    number: int
    hinted: bool
    teacher: str


def check_filter(keep: Filter, task: Task) -> None:
    """Refuse a filter that the task's answers cannot be judged by; raises HarnessError."""
    if keep in {"coherent", "agrees"} and task.answers != "choice":
        raise HarnessError(
            f"--filter {keep} compares options; {task.title} has written answers.",
            remedy="--filter format",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """How the students are evaluated."""

    limit: Annotated[
        int | None,
        Option(
            "Maximum number of test questions. Default: all.",
            panel=EVALUATION,
            flag="test-limit",
            minimum=1,
        ),
    ] = None
    batch_size: Annotated[
        int,
        Option(
            "Test questions at once; changes the speed, not the answers.",
            panel=EVALUATION,
            flag="test-batch-size",
            minimum=1,
        ),
    ] = 4
    baseline: Annotated[
        bool,
        Option(
            "Leave out the student before training.",
            panel=EVALUATION,
            flag="no-baseline",
            default=False,
            parse=operator.not_,
        ),
    ] = True
    """Evaluate the student before training too."""
    conclude: Annotated[
        bool,
        Option(
            "Take the student's conclusions from the likelihood of the options after its "
            "reasoning.",
            panel=EVALUATION,
        ),
    ] = False
    bertscore: BertScore = None
    device: str = "auto"
    dtype: str = "auto"
    max_new_tokens: int = 512
