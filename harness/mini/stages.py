"""The stages of the demo, each a function that another process can be given.

A stage keeps its results in the demo's folder, and finds what earlier ones have left there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from harness.core.types import DataOptions
from harness.mini import distillation
from harness.mini.distillation import BATCH, STUDENT, TEACHER
from harness.mini.extents import CHOICE, OPEN, Extent, Setting
from harness.mini.schedule import Stage

if TYPE_CHECKING:
    from distill.pipeline import Plan
    from harness.run.task_data import Data


_COSTS: Mapping[str, float] = {TEACHER: 26.0, "phi-3.5": 34.0, "llava-next": 15.0, "vilt": 6.0}
_COST = 9.0
"""Of any other model that answers all questions, with few words."""
_RATIONALE = 0.025
"""Of one."""
_PICTURE, _STEP, _EXAMPLE = 0.005, 0.055, 0.008
"""Of a picture that is learned, once; of a step, and of each example in it."""
_REASONED, _ANSWERED = 18.0, 10.0
"""Of the student, and of the control."""
_CONCLUSION = 6.0
_START = 1.5
"""Of each stage, however little it does."""
_QUESTIONS = 1050
"""With options, all."""
_KEPT = 0.66
"""The share of the rationales that end in the right answer."""


def stages(setting: Setting) -> list[Stage]:
    """All stages in the order in which they begin; the last gives what the demo shows."""
    from distill.layout import ATTEMPTS, CONTROL, QUALITY, folder_of

    extent = setting.extent
    answers = [_answering(setting, name) for name in extent.models]
    rationales = Stage(
        title=f"{TEACHER} is asked for {extent.rationales:,} rationales",
        cost=_START + _RATIONALE * extent.rationales,
        work=partial(write_rationales, setting),
        output=folder_of(setting.runs, extent.student) / ATTEMPTS,
    )
    learned = _learning(setting, "", "them", after=rationales)
    if extent.control:
        learned += _learning(setting, CONTROL, "answers alone, the control", after=rationales)
    learned.sort(key=lambda stage: len(stage.after))
    work = [*answers[:2], rationales, *answers[2:], *learned]
    last = Stage(
        title="What came of it",
        cost=_CONCLUSION,
        work=partial(conclude, setting),
        output=folder_of(setting.runs, extent.student) / QUALITY,
        after=tuple(stage.title for stage in work),
    )
    return [*work, last]


def _answering(setting: Setting, name: str) -> Stage:
    """A model of the demo answers both tasks."""
    return Stage(
        title=f"{name}: {CHOICE} and {OPEN}",
        cost=_START + _COSTS.get(name, _COST) * _share(setting.extent),
        work=partial(answer, setting, name),
        output=setting.run(f"{name}-mini").predictions_path,
    )


def _learning(setting: Setting, suffix: str, what: str, *, after: Stage) -> list[Stage]:
    """The student or a control is trained, then asked."""
    from distill.layout import LOG, folder_of

    extent = setting.extent
    name = extent.student + suffix
    kept = _KEPT * extent.rationales
    learned = kept * extent.epochs
    training = Stage(
        title=f"{STUDENT} learns {what}",
        cost=_START + _PICTURE * kept + (_STEP / extent.batch_size + _EXAMPLE) * learned,
        work=partial(learn, setting, suffix),
        output=folder_of(setting.runs, name) / LOG,
        after=(after.title,),
    )
    asking = Stage(
        title=f"{name}: {CHOICE}",
        cost=_START + (_ANSWERED if suffix else _REASONED) * _share(extent),
        work=partial(ask, setting, suffix),
        output=setting.run(name).predictions_path,
        after=(after.title, training.title),
    )
    return [training, asking]


def _share(extent: Extent) -> float:
    """The share of the questions that are asked."""
    return 1.0 if extent.questions is None else extent.questions / _QUESTIONS


@lru_cache(maxsize=1)
def _tasks() -> tuple[Data, ...]:
    """The questions, whose pictures a process draws once."""
    from harness.run.task_data import Data
    from tasks import load_task

    return tuple(Data(load_task(name), DataOptions()) for name in (CHOICE, OPEN))


@lru_cache(maxsize=1)
def _plan(setting: Setting) -> Plan:
    """The plan of the distillation, with the same questions."""
    extent = setting.extent
    plan = distillation.plan(
        setting.folder,
        name=extent.student,
        samples=extent.rationales,
        epochs=extent.epochs,
        batch_size=extent.batch_size,
        limit=extent.questions,
        control=extent.control,
        command=setting.command,
    )
    return replace(plan, test=_tasks()[0])


def answer(setting: Setting, name: str) -> None:
    """Ask a model both tasks."""
    from harness.core.options import RunOptions
    from harness.run.evaluate import evaluate
    from harness.sources.weights import Weights

    plan = _plan(setting)
    weights = Weights(replace(plan.training.base, model=name))
    options = RunOptions(runs=setting.runs, batch_size=BATCH, command=setting.command)
    for data in _tasks():
        limit = setting.extent.limit(data.task.name)
        evaluate(weights, data, replace(options, limit=limit))


def write_rationales(setting: Setting) -> None:
    """Let the teacher write them."""
    from distill.rationales.collect import collect_rationales

    plan = _plan(setting)
    collect_rationales(plan.workspace, plan.questions, plan.teaching)


def learn(setting: Setting, suffix: str) -> None:
    """Train the student or, with a suffix, a control."""
    from distill.rationales.kept import load_examples
    from distill.training.students import train_student

    plan = _plan(setting)
    examples = load_examples(plan.workspace, plan.questions, objective=plan.objective)
    train_student(plan.workspace, plan.questions, plan.training, examples=examples, suffix=suffix)


def ask(setting: Setting, suffix: str) -> None:
    """Ask the trained student or, with a suffix, a control, whose sight is measured too."""
    from distill.evaluation import evaluate_student
    from distill.layout import STUDENT as TRAINED
    from distill.layout import folder_of
    from distill.objectives import objective_of
    from distill.training.students import check_sight

    plan = _plan(setting)
    evaluate_student(
        plan.workspace,
        plan.test,
        plan.evaluation,
        folder=folder_of(setting.runs, setting.extent.student + suffix) / TRAINED,
        objective=objective_of(plan.training.config_of(suffix)),
        suffix=suffix,
    )
    check_sight(plan.workspace, plan.questions, plan.training, suffix=suffix)


def conclude(setting: Setting) -> str:
    """Complete the records of the distillation, all of whose parts are there; returns what the demo
    shows, in four lines."""
    from distill import pipeline
    from harness.mini.findings import summary

    return summary(setting, pipeline.distill(_plan(setting)))
