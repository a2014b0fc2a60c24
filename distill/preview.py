"""What a distillation would do: how much there is to ask and to train, each teacher's first prompt,
and what is missing. No weights are read, no server is contacted, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from distill.pipeline import Plan, checks
from distill.rationales.collect import TeacherEstimate, estimate_teacher
from distill.rationales.kept import load_examples
from distill.rationales.prompt import teacher_task
from distill.training.estimate import Estimate
from distill.training.students import estimate_training
from harness.core.errors import HarnessError
from harness.core.options import ModelOptions
from harness.core.types import Decoding
from harness.run.preview import first_prompt
from harness.run.prompting import Failure, PromptSettings
from harness.sources.registry import find_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a distillation would do."""

    teacher: TeacherEstimate
    student: Estimate
    controls: Mapping[str, Estimate]
    """Name -> the same of a control."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """Teacher -> the text that it gets for the first question; none of a teacher that is missing,
    and none where no teacher is asked."""
    missing: Sequence[HarnessError] = field(default_factory=tuple)
    """What is in the way, with what helps."""


def preview(plan: Plan, *, trains_alone: bool = False) -> Preview:
    """What `distill.pipeline.distill` would do with the same plan.

    Args:
        trains_alone: on the rationales that are there; no teacher is asked for any.

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
    found = list(checks(plan, trains_alone=trains_alone))
    if trains_alone:
        found.append(lambda: load_examples(workspace, questions, objective=plan.objective))
    prompts: dict[str, str] = {}
    if teacher.remaining and not trains_alone:
        found += [partial(_add_prompt, prompts, plan, each) for each in plan.teaching.teachers]
    return Preview(
        teacher=teacher,
        student=student,
        controls=controls,
        missing=[error for check in found if (error := _error_of(check))],
        prompts=prompts,
    )


def _error_of(check: Callable[[], object]) -> HarnessError | None:
    try:
        check()
    except HarnessError as error:
        return error
    return None


def _add_prompt(prompts: dict[str, str], plan: Plan, teacher: ModelOptions) -> None:
    """Add the text that a teacher gets for the first question; raises HarnessError."""
    data, options = plan.questions.data, plan.teaching.options
    source = find_source(teacher)
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
    prompts[source.checkpoint.name] = source.prompt_text(prompt)
