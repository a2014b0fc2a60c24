"""The sentences of a distillation: what it gained, what it is made from, how its models compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reports.distillation.models import ModelRun, Models
from reports.distillation.training import chosen_student, objective_title, speed_in_words
from reports.inputs import sanitize
from reports.inputs.material import Distillation, Training
from reports.inputs.metrics import MetricFormat
from reports.numbers import counted, fixed
from reports.tables import heatmap
from reports.tables.heatmap import Change


def headline(models: Models) -> Iterable[str]:
    """What training gained over all questions, and by topic."""
    base, student, change = models.base, models.student, models.change
    whole = change.get("")
    if not (base and student and whole):
        return
    metric = student.answers.metric
    is_same = base.answered == student.answered == whole.n
    on = "" if is_same else f" on {counted(whole.n, 'shared question')}"
    yield (
        f"{metric.difference(whole.difference)} {metric.difference_unit}{on}, from {base.title} "
        f"{metric.figure(whole.first)} to {student.title} {metric.figure(whole.second)}."
    )
    ends = metric.ends(whole.low, whole.high)
    asked = on_questions(base, student, whole.n)
    yield f"{asked}, 95% interval {ends}{_verdict(models, base, whole)}."
    topics = {topic: each for topic, each in change.items() if topic}
    yield _certain_topics(topics, metric)
    for names, verb in ((_changed(topics, metric, certain=False, sign=s), v) for s, v in SIGNS):
        if names:
            yield f"{verb}, but not significant: {few(names)}."


def _verdict(models: Models, other: ModelRun, whole: Change) -> str:
    """The student against another model: its verdict among all pairs of runs, where they are tested
    together, so that the page has one for two runs."""
    student = models.student
    assert student is not None  # a change is one of the student
    pair = models.tested(other.answers.run, student.answers.run)
    if pair is None:
        return ": significant" if whole.certain else ": not significant"
    metric = student.answers.metric
    found = pair.verdict(metric, other.title, student.title, noun=metric.counts)
    return f"; {found.probabilities}: {found.conclusion}"


SIGNS = ((1, "Higher"), (-1, "Lower"))


def on_questions(first: ModelRun, second: ModelRun, n: int) -> str:
    """Which questions two runs are compared on: "On the same 490 questions", or with how many each
    of them answered."""
    if first.answered == second.answered == n:
        return f"On the same {counted(n, 'question')}"
    counts = ", ".join(f"{each.title} {each.answered:,}" for each in (first, second))
    return f"On the {counted(n, 'question')} that both answered ({counts})"


def _certain_topics(topics: Mapping[str, Change], metric: MetricFormat) -> str:
    better, worse = (
        _changed(topics, metric, certain=True, sign=sign) for sign in (metric.sign, -metric.sign)
    )
    if not better and not worse:
        return "No topic changed significantly."
    parts = (
        f"Significantly better: {few(better)}." if better else "No topic is significantly better.",
        f"Significantly worse: {few(worse)}." if worse else "No topic is significantly worse.",
    )
    return " ".join(parts)


def _changed(
    topics: Mapping[str, Change], metric: MetricFormat, *, certain: bool, sign: int
) -> list[str]:
    """Topics with their differences, the largest first."""
    digits = metric.interval_digits
    return [
        f"{topic} ({fixed(each.difference * metric.scale, digits, sign='+')})"
        for topic, each in sorted(topics.items(), key=lambda t: -abs(t[1].difference))
        if each.certain is certain and each.difference * sign > 0
    ]


def few(names: Sequence[str], most: int = 6) -> str:
    """The first names, and how many more there are."""
    shown = list(names[:most])
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return ", ".join(shown)


def facts(found: Distillation, models: Models) -> Iterable[tuple[str, str]]:
    """(name, text) of what was distilled into what, on which data; an empty text: not known."""
    base, teacher = models.base, models.teacher
    about = sanitize.mapping(found.rationales.get("teacher"))
    data = sanitize.mapping(found.rationales.get("data"))
    settings = sanitize.mapping(found.rationales.get("settings"))
    counts = sanitize.mapping(found.rationales.get("counts"))
    name = sanitize.text(about.get("title") or about.get("name"), limit=80)
    yield "Teacher", name or (teacher.title if teacher else "")
    yield "Rationales by teacher", _by_teacher(found)
    yield "Student before training", base.title if base else ""
    split = sanitize.text(data.get("split"), limit=40)
    source = (sanitize.text(data.get("title"), limit=80), f"{split} split" if split else "")
    yield "Training questions", ", ".join(part for part in source if part)
    numbers = {key: sanitize.whole(counts.get(key)) for key in ("selected", "kept", "hinted")}
    if numbers["selected"] is not None and numbers["kept"] is not None:
        text = f"{numbers['kept']:,} kept of {numbers['selected']:,} requested"
        if numbers["hinted"]:
            text += f"; {numbers['hinted']:,} only with the answer as a hint"
        yield "Rationales", text
    yield "Filter", sanitize.text(settings.get("filter"), limit=40)
    if (attempts := sanitize.whole(settings.get("attempts"))) is not None and attempts > 1:
        method = sanitize.text(settings.get("choose"), limit=40)
        yield "Chosen", f"of {attempts:,} attempts by each teacher, by {method}"
    if found.training:
        yield "Trained on", objective_title(found.training)
        yield "Training", _training(found.training)
        yield "Training speed", speed_in_words(found.training)
        yield "Student kept", chosen_student(found.training)
    if found.control:
        title = objective_title(found.control)
        yield f"Control ({title})" if title else "Control", _training(found.control)


def _by_teacher(found: Distillation) -> str:
    """How many kept rationales each of several teachers wrote; "" of one."""
    counts = sanitize.mapping(sanitize.mapping(found.rationales.get("counts")).get("teachers"))
    kept = {
        sanitize.text(name, limit=80): sanitize.whole(sanitize.mapping(each).get("kept"))
        for name, each in counts.items()
    }
    if len(kept) < 2:
        return ""
    return ", ".join(f"{name} {number or 0:,}" for name, number in kept.items())


def _training(training: Training) -> str:
    config = sanitize.mapping(training.record.get("config"))
    counts = sanitize.mapping(training.record.get("counts"))
    parts = []
    if (used := sanitize.whole(counts.get("used"))) is not None:
        parts.append(counted(used, "question"))
    if (steps := sanitize.whole(training.record.get("steps"))) is not None:
        parts.append(counted(steps, "step"))
    if (batch := sanitize.whole(config.get("batch_size"))) is not None:
        parts.append(f"batch size {batch:,}")
    if (rate := sanitize.number(config.get("learning_rate"))) is not None:
        parts.append(f"learning rate {rate:g}")
    if (epochs := sanitize.number(config.get("epochs"))) is not None:
        parts.append(f"{epochs:g} epoch{'' if epochs == 1 else 's'}")
    status = sanitize.text(training.record.get("status"), limit=20)
    return ", ".join([*parts, *([status] if status and status != "complete" else [])])


def comparisons(found: Distillation, models: Models) -> Iterable[str]:
    """The student against its control and against its teacher, a sentence each."""
    student = models.student
    title = objective_title(found.control) if found.control else ""
    for other, what in (
        (models.control, f"control, trained on {title}" if title else "control"),
        (models.teacher, "teacher"),
    ):
        if student is None or other is None:
            continue
        whole = heatmap.changes(other.answers, student.answers, models.tested).get("")
        if whole is None:
            continue
        metric = student.answers.metric
        yield (
            f"Compared with {other.title} ({what}): {metric.difference(whole.difference)} "
            f"{metric.difference_unit} (95% interval {metric.ends(whole.low, whole.high)}, "
            f"{_number(other, student, whole.n)}){_verdict(models, other, whole)}."
        )


def _number(first: ModelRun, second: ModelRun, n: int) -> str:
    if first.answered == second.answered == n:
        return f"n {n:,}"
    on = on_questions(first, second, n)
    return f"{on[:1].lower()}{on[1:]}"
