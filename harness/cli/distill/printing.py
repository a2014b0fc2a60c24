"""What the commands of `harness distill` print."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.config import DistillConfig
from distill.layout import ADAPTER, TRAINING, Workspace
from distill.objectives import objective_of, own_settings
from distill.options import EvaluationOptions
from harness.cli.configuration import to_toml
from harness.cli.distill.publishing import Published, publish
from harness.cli.dry_run import missing_lines, stop_where_missing
from harness.core.files.json_files import read_json
from harness.core.options import RUNS
from harness.core.terminal import MISSING, print_json, say, table

if TYPE_CHECKING:
    from distill.pipeline import Outcome, Plan
    from distill.preview import Preview
    from distill.quality.sight import Sight
    from distill.questions import Questions
    from distill.rationales.collect import TeacherEstimate, Teaching
    from distill.training.students import Training


_LOGIT_BYTES = 4
"""Of a kept logit, with the token that it is of, in a vocabulary of up to 65,536 tokens."""


def print_preview(plan: Plan, *, as_json: bool, trains_alone: bool = False) -> None:
    """Show the configuration and what the plan would take, as TOML with comments.

    Raises:
        typer.Exit: something is missing.
    """
    from distill.preview import preview

    found = preview(plan, trains_alone=trains_alone)
    student = found.student
    configuration = plan.workspace.configuration
    if as_json:
        total = {"memory_total": student.memory_total, "disk_total": student.disk_total}
        shown = {
            "preset": plan.training.preset,
            "config": plan.training.config.to_json(),
            "rationales": asdict(found.teacher),
            "controls": {name: asdict(each) for name, each in found.controls.items()},
            "configuration": configuration,
            "prompt": next(iter(found.prompts.values()), None),
            "prompts": dict(found.prompts),
            "missing": [error.to_json() for error in found.missing],
        }
        print_json({**asdict(student), **total, **shown})
    else:
        say(to_toml(configuration).rstrip("\n"))
        say()
        for line in _preview_lines(plan, found, trains_alone=trains_alone):
            say(f"# {line}".rstrip())
    stop_where_missing(found.missing)


def _preview_lines(plan: Plan, found: Preview, *, trains_alone: bool) -> Iterator[str]:
    from harness.core.progress import duration

    data, config, student = plan.questions.data, plan.training.config, found.student
    selected, attempts = plan.questions.selected(), plan.teaching.options.attempts
    yield (
        f"Questions   {len(selected):,} of {len(data.samples.samples):,} "
        f"({data.samples.source}, {data.options.split})"
    )
    for reason, count in data.samples.filtered.items():
        yield f"            {count:,} left out: {reason}"
    asked = "" if trains_alone else f", {_asked(found.teacher, attempts)}"
    yield f"Rationales  {found.teacher.rationales:,} are there{asked}"
    yield f"Objective   {_objective(config)}"
    if count := objective_of(config).top_logits:
        size = _gigabytes(student.target_tokens * count * _LOGIT_BYTES)
        yield f"Logits      the teacher's {count:,} highest at each target token, {size}"
    if sampling := objective_of(config).sampling:
        yield (
            f"Answers     at most {sampling.max_new_tokens:,} tokens to each question, in every "
            "epoch: the student writes and the teacher scores them, in time and memory that are "
            "not in what follows"
        )
    yield (
        f"Training    preset {plan.training.preset}: {student.samples:,} examples, "
        f"{student.steps:,} steps of {config.batch_size}, {student.tokens:,} tokens an epoch; "
        f"{student.trained:,} of {student.parameters:,} parameters"
    )
    yield f"Memory      {_sizes(student.memory_total, student.memory)}"
    yield f"Disk        {_sizes(student.disk_total, student.disk)}"
    yield (
        f"Time        {duration(student.seconds)} for training, at the measured "
        f"{student.device_flops / 1e12:.2f} TFLOP/s"
    )
    for name, each in found.controls.items():
        yield f"            {duration(each.seconds)} for {name}, {each.steps:,} steps"
    for reason, count in student.left_out.items():
        yield f"Left out    {count:,}: {reason}"
    several = len(plan.teaching.teachers) > 1
    for teacher, prompt in found.prompts.items():
        yield f"The first prompt of {teacher}:" if several else "The teacher's first prompt:"
        yield from (f"| {line}" for line in prompt.splitlines())
    yield from missing_lines(found.missing)


def _objective(config: DistillConfig) -> str:
    """As in "answer: answers only"."""
    objective = objective_of(config)
    settings = own_settings(objective, config)
    shown = "".join(f", {name} {value}" for name, value in settings.items())
    return f"{objective.name}: {objective.title}{shown}"


def _asked(teacher: TeacherEstimate, attempts: int) -> str:
    from harness.core.progress import duration

    if not teacher.remaining:
        return "none remain to be asked"
    speed = (
        "none was asked yet: the paper's teacher took 11 s a question"
        if teacher.seconds is None
        else f"{duration(teacher.seconds)} at the speed so far"
    )
    return (
        f"{teacher.remaining:,} questions to ask ({speed}), at most {attempts} attempts each; "
        "taken to get some 200 words each"
    )


def _sizes(total: float, parts: Mapping[str, float]) -> str:
    listed = ", ".join(f"{name} {_gigabytes(size)}" for name, size in parts.items())
    return f"{_gigabytes(total)}: {listed}"


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.2f} GB"


def print_outcome(plan: Plan, outcome: Outcome, *, task: str, as_json: bool) -> Published | None:
    """Show what the stages have given, and how the students are evaluated again; returns what came
    of --push-to-hub.

    Args:
        task: as the command line names it.
    """
    preset = plan.training.preset
    if as_json:
        hub = _published(plan, outcome)
        print_json(
            {
                "preset": preset,
                "rationales": outcome.rationales,
                "quality": outcome.quality,
                "students": {name: str(folder) for name, folder in outcome.students.items()},
                "sights": {name: sight.to_json() for name, sight in outcome.sights.items()},
                "overlap": outcome.overlap,
                "hub": hub.to_json() if hub else None,
                "runs": [
                    {"folder": str(run.folder), **run.record.to_json()} for run in outcome.runs
                ],
            }
        )
        return hub
    if outcome.rationales:
        print_rationales(plan.workspace, outcome.rationales)
    if outcome.quality:
        print_quality("The teacher's rationales", outcome.quality["teacher"])
        if plan.objective.style == "structured":
            figures = outcome.quality["students"][plan.workspace.name]
            print_values(f"Answers of {plan.workspace.name}", figures["structure"])
    for name, folder in outcome.students.items():
        say(f"Student: {folder} (preset {preset})")
        suffix = name.removeprefix(plan.workspace.name)
        training = replace(plan.training, config=plan.training.config_of(suffix))
        if name in outcome.sights:
            for line in _sight_lines(outcome.sights[name]):
                say(line)
        workspace = replace(plan.workspace, name=name)
        data = plan.test.options.path
        for line in evaluation_commands(folder, training, workspace, task=task, data=data):
            say(line)
    if hub := _published(plan, outcome):
        hub.show()
    return hub


def _published(plan: Plan, outcome: Outcome) -> Published | None:
    """The student, not its controls, on the hub; None where that is not wanted."""
    workspace = plan.workspace
    student = outcome.students[workspace.name]
    return publish(workspace, plan.questions, student, training_record(workspace))


def print_rationales(workspace: Workspace, record: Mapping[str, Any]) -> None:
    """A table of the kept and dropped rationales by topic."""
    counts = record["counts"]
    title = (
        f"Rationales by {record['teacher']['name']}, {record['status']}: {counts['kept']:,} kept "
        f"of {counts['selected']:,}, {counts['hinted']:,} after a hint, {counts['failed']:,} failed"
    )
    if len(teachers := counts.get("teachers", {})) > 1:
        wrote = [
            (name, *(f"{each[key]:,}" for key in ("questions", "attempts", "kept")))
            for name, each in teachers.items()
        ]
        table("Teachers", ("teacher", "questions", "attempts", "kept"), wrote)
    rows = [
        (topic or "(no topic)", str(each["kept"]), str(each["dropped"]))
        for topic, each in counts["topics"].items()
    ]
    table(title, ("topic", "kept", "dropped"), rows)
    for reason, count in counts["reasons"].items():
        say(f"  {count:,} dropped: {reason}")
    if shortened := counts.get("truncated"):
        say(f"  {shortened:,} asked with a shortened context text")
    say(f"Folder: {workspace.folder}")


def print_quality(title: str, figures: Mapping[str, Any]) -> None:
    """A table of the measures over all topics."""
    print_values(title, figures["all"]["measures"])


def print_values(title: str, values: Mapping[str, Any]) -> None:
    """A table of Values, or of what they are as JSON."""
    from reports.distillation.measures import titled

    rows = []
    for name, value in values.items():
        found = value if isinstance(value, dict) else asdict(value)
        words, scale = titled(name)
        unit, digits = ("%", 1) if scale == 100 else ("", 3)
        shown, low, high = (
            MISSING if each is None else f"{each * scale:,.{digits}f}"
            for each in (found["value"], found["low"], found["high"])
        )
        ends = MISSING if found["low"] is None else f"{low} to {high}"
        rows.append((words, f"{shown}{unit if shown != MISSING else ''}", ends, f"{found['n']:,}"))
    table(title, ("measure", "value", "95% interval", "n"), rows)


def preview_of_training(
    workspace: Workspace,
    questions: Questions,
    training: Training,
    teaching: Teaching,
    *,
    as_json: bool,
) -> None:
    """Show what training alone would take."""
    from distill.pipeline import Plan

    plan = Plan(
        workspace=workspace,
        questions=questions,
        teaching=teaching,
        training=training,
        test=questions.data,
        evaluation=EvaluationOptions(),
    )
    print_preview(plan, as_json=as_json, trains_alone=True)


def show_trained(
    workspace: Workspace,
    questions: Questions,
    training: Training,
    student: Path,
    *,
    task: str,
    as_json: bool,
) -> None:
    """Show a student that was trained, whether it looks at its pictures, and how to evaluate it.

    Args:
        task: as the command line names it.

    Raises:
        HarnessError: the hub did not take it.
    """
    from distill.training.students import check_sight

    sight = check_sight(workspace, questions, training)
    data = questions.data.options.path
    commands = list(evaluation_commands(student, training, workspace, task=task, data=data))
    record = training_record(workspace)
    if not as_json:
        for line in _trained_lines(student, record, sight, commands):
            say(line)
    hub = publish(workspace, questions, student, record)
    if as_json:
        print_json(
            {
                "preset": training.preset,
                **record,
                "student": str(student),
                "sight": sight.to_json() if sight else None,
                "evaluate": commands,
                "hub": hub.to_json() if hub else None,
            }
        )
    elif hub:
        hub.show()
    if hub and hub.error:
        raise hub.error


def _trained_lines(
    student: Path, record: Mapping[str, Any], sight: Sight | None, commands: Sequence[str]
) -> Iterator[str]:
    from distill.training.evaluation_log import choice_in_words

    yield f"Student: {student}"
    for reason, number in record["counts"]["left_out"].items():
        yield f"Left out: {number:,} of {record['counts']['examples']:,} questions ({reason})."
    if choice := choice_in_words(record):
        yield choice
    if sight is not None:
        yield from _sight_lines(sight)
    yield from commands


def _sight_lines(sight: Sight) -> Iterator[str]:
    which = "questions that it was trained on" if sight.seen else "test questions"
    yield (
        f"Pictures: of {sight.questions:,} {which} {sight.right:,} are answered word for word, "
        f"{sight.right_without:,} with grey pictures in place of theirs (p = {sight.p:.2g}); the "
        f"pictures save {sight.gain:.3f} nats per token."
    )
    if sight.blind:
        found = (
            "seems blind: its answers are not significantly better with the pictures"
            if sight.right > sight.right_without
            else "is blind: it answers as well without the pictures"
        )
        yield (
            f"The student {found}. Train longer, on more questions, or on answers in words in "
            "place of letters."
        )


def evaluation_commands(
    student: Path, training: Training, workspace: Workspace, *, task: str, data: Path | None
) -> Iterator[str]:
    """The commands that evaluate a student on its kind of data, its adapter by itself too. Each
    run has a name of its own: all students lie in folders of one name.

    Args:
        workspace: by its name; its runs are where the evaluation goes.
        task: as the command line names it.
        data: the user's own.
    """
    from distill.training.students import find_base
    from distill.training.tokens import asked_as

    objective = objective_of(training.config)
    adapter = student.parent / ADAPTER
    name, runs = workspace.name, workspace.runs
    models: list[tuple[Path, str, list[str]]] = [(student, name, [])]
    if adapter.is_dir():
        own = (find_base(training).folder, f"{name}-adapter", ["--adapter", str(adapter)])
        models.append(own)
    for folder, called, more in models:
        asked = asked_as(folder, objective)
        yield shlex.join(
            [
                *("harness", "eval", "--model", asked.model),
                *(["--weights", asked.weights] if asked.weights else []),
                *more,
                *(["--style", asked.style] if asked.style else []),
                *("--task", task),
                *(["--data", str(data)] if data else []),
                *(["--name", called] if called != asked.model else []),
                *(["--runs", str(runs)] if runs != RUNS.default else []),
            ]
        )


def training_record(workspace: Workspace) -> dict[str, Any]:
    """distill.json of the training."""
    record: dict[str, Any] = read_json(workspace.folder / TRAINING)
    return record
