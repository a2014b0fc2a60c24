"""What the commands of `harness distill` print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from distill.layout import TRAINING, Workspace
from harness.core.files.json_files import read_json
from harness.core.terminal import MISSING, print_json, say, table

if TYPE_CHECKING:
    from distill.pipeline import Outcome, Plan
    from distill.rationales.collect import TeacherEstimate


def print_estimate(plan: Plan, *, as_json: bool) -> None:
    """Show what the plan would take."""
    from distill.pipeline import estimate_plan
    from harness.core.progress import duration

    teacher, student, controls = estimate_plan(plan)
    config = plan.training.config
    if as_json:
        total = {"memory_total": student.memory_total, "disk_total": student.disk_total}
        shown = {
            "preset": plan.training.preset,
            "config": config.to_json(),
            "rationales": asdict(teacher),
            "controls": {name: asdict(each) for name, each in controls.items()},
        }
        print_json({**asdict(student), **total, **shown})
        return
    data, selected = plan.questions.data, plan.questions.selected()
    attempts = plan.teaching.options.attempts
    say(
        f"Questions   {len(selected):,} of {len(data.samples.samples):,} "
        f"({data.samples.source}, {data.options.split})\n"
        f"Rationales  {teacher.rationales:,} are there, {_asked(teacher, attempts)}\n"
        f"Training    preset {plan.training.preset}: {student.samples:,} examples, "
        f"{student.steps:,} steps of {config.batch_size}, {student.tokens:,} tokens an epoch; "
        f"{student.trained:,} of {student.parameters:,} parameters\n"
        f"Memory      {_sizes(student.memory_total, student.memory)}\n"
        f"Disk        {_sizes(student.disk_total, student.disk)}\n"
        f"Time        {duration(student.seconds)} for training, at the measured "
        f"{student.device_flops / 1e12:.2f} TFLOP/s"
    )
    for name, each in controls.items():
        say(f"            {duration(each.seconds)} for {name}, {each.steps:,} steps")
    for reason, count in student.left_out.items():
        say(f"Left out    {count:,}: {reason}")


def _asked(teacher: TeacherEstimate, attempts: int) -> str:
    from harness.core.progress import duration

    if not teacher.remaining:
        return "nobody is asked"
    speed = (
        "nobody was asked yet: the paper's teacher took 11 s a question"
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


def print_outcome(plan: Plan, outcome: Outcome, *, as_json: bool) -> None:
    """Show what the stages have given."""
    preset = plan.training.preset
    if as_json:
        print_json(
            {
                "preset": preset,
                "rationales": outcome.rationales,
                "quality": outcome.quality,
                "students": {name: str(folder) for name, folder in outcome.students.items()},
                "overlap": outcome.overlap,
                "runs": [
                    {"folder": str(run.folder), **run.record.to_json()} for run in outcome.runs
                ],
            }
        )
        return
    if outcome.rationales:
        print_rationales(plan.workspace, outcome.rationales)
    if outcome.quality:
        print_quality("The teacher's rationales", outcome.quality["teacher"])
        figures = outcome.quality["students"][plan.workspace.name]
        print_values(f"Answers of {plan.workspace.name}", figures["structure"])
    for folder in outcome.students.values():
        say(f"Student: {folder} (preset {preset})")


def print_rationales(workspace: Workspace, record: Mapping[str, Any]) -> None:
    """A table of the kept and dropped rationales by topic."""
    counts = record["counts"]
    title = (
        f"Rationales by {record['teacher']['name']}, {record['status']}: {counts['kept']:,} kept "
        f"of {counts['selected']:,}, {counts['hinted']:,} after a hint, {counts['failed']:,} failed"
    )
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
    rows = []
    for name, value in values.items():
        found = value if isinstance(value, dict) else asdict(value)
        shown = MISSING if found["value"] is None else f"{found['value']:.4g}"
        ends = MISSING if found["low"] is None else f"{found['low']:.3f} to {found['high']:.3f}"
        rows.append((name, shown, ends, f"{found['n']:,}"))
    table(title, ("measure", "value", "95% interval", "n"), rows)


def training_record(workspace: Workspace) -> dict[str, Any]:
    """distill.json of the training."""
    record: dict[str, Any] = read_json(workspace.folder / TRAINING)
    return record
