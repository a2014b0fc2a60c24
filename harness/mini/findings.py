"""What the demo shows, in a few lines, from its records."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from harness.mini.distillation import STUDENT, TEACHER
from harness.mini.extents import CHOICE, Setting

if TYPE_CHECKING:
    from distill.pipeline import Outcome
    from harness.run.folder import RunFolder
    from harness.run.records import RunRecord


def summary(setting: Setting, outcome: Outcome) -> str:
    """The results in four lines."""
    from distill.layout import CONTROL

    extent = setting.extent
    names = [f"{name}-mini" for name in extent.models]
    names += [extent.student, *([extent.student + CONTROL] if extent.control else [])]
    records = {name: setting.run(name).existing_record() for name in names}
    best = max(records.values(), key=_value)
    accuracy, chance = best.metrics["accuracy"], best.metrics["chance"]
    assert outcome.rationales is not None  # the preset teaches them
    assert outcome.quality is not None
    counts = outcome.rationales["counts"]
    wrong = outcome.quality["students"][extent.student]["structure"]["reasoning_to_error"]
    head = f"{len(records)} models on {CHOICE}, {accuracy.n:,} questions"
    kept = f"{counts['kept']:,} of {counts['selected']:,}"
    named = f"{_share(wrong['value'])} of {wrong['n']:,}" if wrong["n"] else "none"
    first = f"{best.model.title} is best with {_share(accuracy.value)}"
    return "\n".join(
        (
            f"{head}: {first}, chance is {_share(chance.value)}.",
            f"{TEACHER} wrote rationales; {kept} end in the right answer and were learned.",
            _gain(setting),
            f"Wrong answers of {extent.student} whose reasoning names the right option: {named}.",
        )
    )


def _value(record: RunRecord) -> float:
    return record.metrics["accuracy"].value or 0.0


def _gain(setting: Setting) -> str:
    """The student's gain, in all questions and in those of several steps."""
    from distill.layout import CONTROL
    from harness.run.compare import compare

    student = setting.extent.student
    control = [student + CONTROL] if setting.extent.control else []
    words = ("before", *(["taught answers alone"] if control else ()), "taught rationales")
    names = (f"{STUDENT}-mini", *control, student)
    folders = [setting.run(name) for name in names]
    figures = ", ".join(
        f"{word} {_accuracies(folder)}" for word, folder in zip(words, folders, strict=True)
    )
    found = compare(folders[-2], folders[-1]).decisive
    return (
        f"{STUDENT}: {figures}; rationales against {words[-2].removeprefix('taught ')} "
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
