"""The sentences of a distillation: what it gained, what it is made from, how its models compare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reports.distillation.models import Models
from reports.inputs import sanitize
from reports.inputs.material import Distillation, Training
from reports.tables import heatmap
from reports.tables.heatmap import Change
from reports.tables.table import fixed


def headline(models: Models) -> Iterable[str]:
    """What training gained over all questions, and by topic."""
    base, student, change = models.base, models.student, models.change
    if not (base and student and change):
        return
    whole = change[""]
    yield (
        f"{fixed(whole.difference, 2, sign='+')} points, from {base.title} "
        f"{fixed(whole.first / whole.n * 100, 2)}% to {student.title} "
        f"{fixed(whole.second / whole.n * 100, 2)}%."
    )
    sure = "certain" if whole.certain else "which chance may explain"
    yield f"On the same {whole.n:,} questions, 95% interval {_interval(whole)}: {sure}."
    topics = {topic: each for topic, each in change.items() if topic}
    for certain, better, worse in (
        (True, "Surely better", "surely worse"),
        (False, "Higher, though chance may explain it", "lower, though chance may explain it"),
    ):
        parts = []
        for words, sign in ((better, 1), (worse, -1)):
            names = [
                f"{topic} ({fixed(each.difference, 1, sign='+')})"
                for topic, each in sorted(topics.items(), key=lambda t: -abs(t[1].difference))
                if each.certain is certain and each.difference * sign > 0
            ]
            if names:
                parts.append(f"{words}: {few(names)}")
            elif certain:
                parts.append(f"{words} in no topic")
        if parts:
            yield f"{_capital('; '.join(parts))}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def few(names: Sequence[str], most: int = 6) -> str:
    """The first names, and how many more there are."""
    shown = list(names[:most])
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return ", ".join(shown)


def _interval(each: Change) -> str:
    return " to ".join(fixed(end, 1, sign="+") for end in (each.low, each.high))


def facts(found: Distillation, models: Models) -> Iterable[tuple[str, str]]:
    """(name, text) of what was distilled into what, on which data; an empty text: not known."""
    base, teacher = models.base, models.teacher
    about = sanitize.mapping(found.rationales.get("teacher"))
    data = sanitize.mapping(found.rationales.get("data"))
    settings = sanitize.mapping(found.rationales.get("settings"))
    counts = sanitize.mapping(found.rationales.get("counts"))
    name = sanitize.text(about.get("title") or about.get("name"), limit=80)
    yield "Teacher", name or (teacher.title if teacher else "")
    yield "Student before training", base.title if base else ""
    split = sanitize.text(data.get("split"), limit=40)
    source = (sanitize.text(data.get("title"), limit=80), f"{split} split" if split else "")
    yield "Training questions", ", ".join(part for part in source if part)
    numbers = {key: sanitize.whole(counts.get(key)) for key in ("selected", "kept", "hinted")}
    if numbers["selected"] is not None and numbers["kept"] is not None:
        text = f"{numbers['kept']:,} kept of {numbers['selected']:,} asked for"
        if numbers["hinted"]:
            text += f"; {numbers['hinted']:,} only with the answer as a hint"
        yield "Rationales", text
    yield "Filter", sanitize.text(settings.get("filter"), limit=40)
    if found.training:
        yield "Training", _training(found.training)
    if found.control:
        yield "Control, answers alone", _training(found.control)


def _training(training: Training) -> str:
    config = sanitize.mapping(training.record.get("config"))
    counts = sanitize.mapping(training.record.get("counts"))
    parts = []
    if (used := sanitize.whole(counts.get("used"))) is not None:
        parts.append(f"{used:,} questions")
    if (steps := sanitize.whole(training.record.get("steps"))) is not None:
        parts.append(f"{steps:,} steps")
    if (batch := sanitize.whole(config.get("batch_size"))) is not None:
        parts.append(f"batch {batch:,}")
    if (rate := sanitize.number(config.get("learning_rate"))) is not None:
        parts.append(f"learning rate {rate:g}")
    if (epochs := sanitize.number(config.get("epochs"))) is not None:
        parts.append(f"{epochs:g} epoch{'' if epochs == 1 else 's'}")
    status = sanitize.text(training.record.get("status"), limit=20)
    return ", ".join([*parts, *([status] if status and status != "complete" else [])])


def comparisons(models: Models) -> Iterable[str]:
    """The student against its control and against its teacher, a sentence each."""
    student = models.student
    for other, what in (
        (models.control, "taught the answers alone"),
        (models.teacher, "the teacher"),
    ):
        if student is None or other is None:
            continue
        whole = heatmap.changes(other.answers, student.answers).get("")
        if whole is None:
            continue
        words = (
            "better"
            if whole.certain and whole.difference > 0
            else "worse"
            if whole.certain
            else "not surely better or worse"
        )
        yield (
            f"Against {other.title}, {what}: {fixed(whole.difference, 2, sign='+')} points, "
            f"{_interval(whole)}, n {whole.n:,}; {words}."
        )
