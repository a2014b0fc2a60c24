"""What a distillation would do: how much there is to ask and to train, the teacher's first prompt,
and what is missing. No weights are read, no server is contacted, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from distill.pipeline import Plan
from distill.rationales.collect import TeacherEstimate, estimate_teacher
from distill.rationales.logit_collection import check_teacher
from distill.rationales.logits import read_logits_record
from distill.rationales.prompt import teacher_task
from distill.training.estimate import Estimate
from distill.training.students import estimate_training, find_base
from harness.core.errors import HarnessError
from harness.core.types import Decoding
from harness.run.preview import first_prompt
from harness.run.prompting import Failure, PromptSettings
from harness.sources.registry import find_source
from harness.tracking.registry import check_trackers


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a distillation would do."""

    teacher: TeacherEstimate
    student: Estimate
    controls: Mapping[str, Estimate]
    """Name -> the same of a control."""
    prompt: str | None
    """The text that the teacher gets for the first question; None: no teacher is asked, or it is
    missing."""
    missing: Sequence[HarnessError] = field(default_factory=tuple)
    """What is in the way of asking the teacher, or of learning its logits, with what helps."""


def preview(plan: Plan) -> Preview:
    """What `distill.pipeline.distill` would do with the same plan.

    Raises:
        HarnessError: the base is missing or cannot be trained.
    """
    workspace, questions, training = plan.workspace, plan.questions, plan.training
    student = estimate_training(workspace, questions, training)
    controls = {
        workspace.name + suffix: estimate_training(workspace, questions, training, suffix=suffix)
        for suffix in training.controls
    }
    teacher = TeacherEstimate(0, 0, 0.0)  # answers alone need none
    if plan.needs_rationales:
        teacher = estimate_teacher(workspace, questions, plan.teaching)
    prompt: str | None = None
    missing = list(_missing(plan))
    if teacher.remaining:
        try:
            prompt = _first_prompt(plan)
        except HarnessError as error:
            missing.append(error)
    return Preview(
        teacher=teacher, student=student, controls=controls, prompt=prompt, missing=missing
    )


def _missing(plan: Plan) -> Iterator[HarnessError]:
    """What is in the way of everything else than the teacher's prompt."""
    checks: list[Callable[[], object]] = [lambda: check_trackers(plan.workspace.tracking)]
    if plan.objective.sampling:
        checks.append(lambda: check_teacher(plan.teaching, find_base(plan.training).folder))
    if plan.objective.top_logits and read_logits_record(plan.workspace) is None:
        checks.append(lambda: check_teacher(plan.teaching, find_base(plan.training).folder))
    for check in checks:
        try:
            check()
        except HarnessError as error:
            yield error


def _first_prompt(plan: Plan) -> str:
    """The text that the teacher gets for the first question; raises HarnessError."""
    data, options = plan.questions.data, plan.teaching.options
    source = find_source(plan.teaching.teacher)
    sample = plan.questions.selected()[0]
    prompt = first_prompt(
        source,
        data,
        sample,
        settings=PromptSettings(style="structured", truncate=options.truncate),
        decoding=Decoding(max_new_tokens=options.max_new_tokens or 1),
        task=teacher_task(data.task, options.inputs),
    )
    if isinstance(prompt, Failure):
        raise HarnessError(f"Question {sample.id}: {prompt.reason}.")
    return source.prompt_text(prompt)
