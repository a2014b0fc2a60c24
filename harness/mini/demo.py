"""`harness demo`: the whole paper in miniature, with nothing to download.

Six small models that come with the package answer synthetic questions; the teacher among them
writes rationales, the student is trained on them, a control on the answers alone; the page shows
the results. Every stage keeps its results, so that the same command resumes an interrupted demo.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from harness.core.types import DataOptions
from harness.mini import distillation
from harness.mini.distillation import BATCH, DISTILLED, RUNS, STUDENT, TEACHER
from harness.mini.pace import Pace

if TYPE_CHECKING:
    from distill.pipeline import Outcome, Plan
    from harness.run.folder import RunFolder
    from harness.run.scoring import Run
    from harness.run.task_data import Data

CHOICE, OPEN = distillation.TASK, "vqaonline-mini"
MODELS = (TEACHER, "llava-next", "phi-3.5", STUDENT, "kosmos-2", "vilt")
"""The models that answer both tasks before the distillation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How many questions, rationales and models the demo has."""

    questions: int | None
    """The first of each test set, in which topics take turns; None: all."""
    rationales: int | None
    """Training questions that the teacher answers; None: the preset's number."""
    student: str
    """The student's name."""
    models: Sequence[str]
    """The models that answer both tasks."""
    control: bool


FULL = Extent(questions=None, rationales=None, student=DISTILLED, models=MODELS, control=True)
QUICK = Extent(
    questions=35,
    rationales=64,
    student=f"{DISTILLED}-quick",
    models=(*MODELS, DISTILLED),  # the shipped one: 64 rationales teach nothing
    control=False,
)


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the demo."""

    title: str
    cost: float
    """Its share of the time: the seconds that it took on the machine where it was measured."""
    work: Callable[[], None]


_COSTS = {TEACHER: 20.0, DISTILLED: 15.0, "rationales": 86.0, "student": 82.0, "control": 82.0}
_COST = 6.0
"""Seconds of any other model."""


def run(
    folder: Path,
    *,
    out: Path,
    extent: Extent,
    command: Sequence[str],
    report: Callable[[str], None],
    fresh: bool = False,
) -> str:
    """The demo under `folder`, and the page at `out`; returns what it shows, in five lines.

    Args:
        report: is called with a line before each stage.
        fresh: move aside what is in `folder`, and start over.

    Raises:
        HarnessError: another demo runs in `folder`, or what is there has other weights, questions
            or settings.
        Interrupted: by a signal; the same call resumes.
    """
    from harness.core.errors import HarnessError
    from harness.core.files.set_aside import set_aside
    from harness.run.folder import RunFolder

    with ExitStack() as stack:
        try:
            stack.enter_context(RunFolder(folder).locked())
        except HarnessError as error:
            error.remedy = error.remedy.replace("--runs", "--folder")
            raise
        if fresh and (aside := set_aside([folder / RUNS], folder / RUNS)):
            report(f"The demo that was there is now in {aside}")
        return _run(folder, out, extent, command, report)


def _run(
    folder: Path, out: Path, extent: Extent, command: Sequence[str], report: Callable[[str], None]
) -> str:
    from distill import pipeline
    from harness.run.task_data import Data
    from reports.page.report import write_report
    from tasks import load_task

    tasks = [Data(load_task(name), DataOptions()) for name in (CHOICE, OPEN)]
    plan = distillation.plan(
        folder,
        name=extent.student,
        samples=extent.rationales,
        limit=extent.questions,
        control=extent.control,
        command=command,
    )
    runs: list[Run] = []
    outcomes: list[Outcome] = []

    def answer(name: str) -> None:
        runs.extend(_answers(name, tasks, plan, extent))

    def distil() -> None:
        outcomes.append(pipeline.distill(plan))
        write_report(plan.workspace.runs, out)

    stages = [
        Stage(f"{name}: {CHOICE} and {OPEN}", _COSTS.get(name, _COST), partial(answer, name))
        for name in extent.models
    ]
    if extent.control:  # else each is over at once, within the last
        stages += _distillation_stages(plan)
    stages.append(
        Stage(
            f"{extent.student}: distilled from {TEACHER} into {STUDENT}, and asked",
            _COSTS[DISTILLED] * (1 + extent.control),
            distil,
        )
    )
    pace = Pace() if extent == FULL and plan.training.resolved_device() == "cpu" else None
    _run_stages(
        stages,
        report,
        recorded_bytes=lambda: _recorded_bytes(plan.workspace.runs),
        pace=pace,
    )
    return "\n".join(summary([*runs, *outcomes[-1].runs], outcomes[-1], extent, out))


def _answers(name: str, tasks: Sequence[Data], plan: Plan, extent: Extent) -> list[Run]:
    """A model's runs on the tasks."""
    from dataclasses import replace

    from harness.core.options import RunOptions
    from harness.run.evaluate import evaluate
    from harness.sources.weights import Weights

    weights = Weights(replace(plan.training.base, model=name))
    options = RunOptions(
        runs=plan.workspace.runs,
        limit=extent.questions,
        batch_size=BATCH,
        command=plan.workspace.command,
    )
    return [evaluate(weights, data, options) for data in tasks]


def _distillation_stages(plan: Plan) -> list[Stage]:
    """The stages of the distillation, whose results `pipeline.distill` then finds."""
    from distill.layout import CONTROL
    from distill.rationales.collect import collect_rationales
    from distill.rationales.kept import load_examples
    from distill.training.students import train_student

    workspace, questions = plan.workspace, plan.questions

    def write() -> None:
        collect_rationales(workspace, questions, plan.teaching)

    def learn(suffix: str = "") -> None:
        examples = load_examples(workspace, questions, objective=plan.objective)
        train_student(workspace, questions, plan.training, examples=examples, suffix=suffix)

    return [
        Stage(f"{TEACHER} writes rationales", _COSTS["rationales"], write),
        Stage(f"{STUDENT} learns them", _COSTS["student"], learn),
        Stage(
            f"{STUDENT} learns answers alone, the control",
            _COSTS["control"],
            lambda: learn(CONTROL),
        ),
    ]


def _recorded_bytes(runs: Path) -> int:
    """Bytes of all answers, rationales and training logs: a stage with work to do adds some."""
    return sum(path.stat().st_size for path in runs.rglob("*.jsonl"))


def _run_stages(
    stages: Sequence[Stage],
    report: Callable[[str], None],
    *,
    recorded_bytes: Callable[[], int],
    clock: Callable[[], float] = time.monotonic,
    pace: Pace | None = None,
) -> None:
    """Run each stage; the remaining time is estimated from the stages that ran as a whole, and at
    first from the machine's `pace`."""
    from harness.core.progress import duration

    spent = worth = 0.0
    resumed = recorded_bytes() > 0  # the first stage that has work left may have done some before
    if pace:
        report(pace.begins(sum(stage.cost for stage in stages), resumed=resumed))
    for number, stage in enumerate(stages, start=1):
        left = sum(later.cost for later in stages[number - 1 :])
        if pace and number > 1 and (slower := pace.slower(left)):
            report(slower)
        about = f"  (about {duration(left * spent / worth)} left in all)" if worth else ""
        report(f"[{number}/{len(stages)}] {stage.title}{about}")
        started, before = clock(), recorded_bytes()
        stage.work()
        if recorded_bytes() > before:  # else there was nothing to do
            if not resumed:
                spent, worth = spent + clock() - started, worth + stage.cost
            resumed = False


def summary(runs: Sequence[Run], outcome: Outcome, extent: Extent, out: Path) -> list[str]:
    """The results in five lines."""
    choice = {run.record.model.name: run for run in runs if run.record.task.name == CHOICE}
    best = max(choice.values(), key=lambda run: run.record.metrics["accuracy"].value or 0.0).record
    accuracy, chance = best.metrics["accuracy"], best.metrics["chance"]
    assert outcome.rationales is not None  # the preset teaches them
    assert outcome.quality is not None
    counts = outcome.rationales["counts"]
    wrong = outcome.quality["students"][extent.student]["structure"]["reasoning_to_error"]
    head = f"{len(choice)} models on {CHOICE}, {accuracy.n:,} questions"
    kept = f"{counts['kept']:,} of {counts['selected']:,}"
    named = f"{_share(wrong['value'])} of {wrong['n']:,}" if wrong["n"] else "none"
    first = f"{best.model.title} is best with {_share(accuracy.value)}"
    there = "Tables 1 and 2 of the paper, next to these runs, mini (synthetic)"
    return [
        f"{head}: {first}, chance is {_share(chance.value)}.",
        f"{TEACHER} wrote rationales; {kept} end in the right answer and were learned.",
        _gain(choice, extent),
        f"Wrong answers of {extent.student} whose reasoning names the right option: {named}.",
        f"Open {out}: {there}, and every answer with its picture.",
    ]


def _gain(choice: Mapping[str, Run], extent: Extent) -> str:
    """The student's gain, in all questions and in those of several steps."""
    from distill.layout import CONTROL
    from harness.run.compare import compare
    from harness.run.folder import RunFolder

    names = {
        "before": f"{STUDENT}-mini",
        "taught answers alone": extent.student + CONTROL,
        "taught rationales": extent.student,
    }
    folders = {
        words: RunFolder(choice[name].folder) for words, name in names.items() if name in choice
    }
    figures = ", ".join(f"{words} {_accuracies(folder)}" for words, folder in folders.items())
    words, other = list(folders.items())[-2]
    found = compare(other, folders["taught rationales"]).decisive
    return (
        f"{STUDENT}: {figures}; rationales against {words.removeprefix('taught ')} "
        f"{100 * found.difference:+.1f} points (p = {found.p:.2g})."
    )


def _accuracies(folder: RunFolder) -> str:
    """As in "61.0% (several steps 54.2%)"."""
    from harness.synthetic.questions import parse_id

    found = {p.sample_id: bool(p.correct) for p in folder.read_predictions()}
    several = [
        right for key, right in found.items() if (known := parse_id(key)) and known.steps > 1
    ]
    return f"{_share(fmean(found.values()))} (several steps {_share(fmean(several))})"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"
