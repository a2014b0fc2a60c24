"""The training of a distilled student: its questions by topic and its loss."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from distill.objectives import recorded_objective
from distill.training.evaluation_log import choice_in_words
from reports.charts.loss import Curve, curve, losses
from reports.charts.validation import ValidationCurve, validation_curve
from reports.inputs import sanitize
from reports.inputs.material import Distillation, Training
from reports.numbers import significant


def trained_questions(found: Distillation) -> dict[str, int]:
    """Topic -> questions that the student was trained on or, where that is not known, kept
    rationales."""
    record: Mapping[str, object] = found.training.record if found.training else {}
    by_topic = sanitize.mapping(sanitize.mapping(record.get("counts")).get("by_topic"))
    kept = {
        topic: sanitize.mapping(each).get("kept")
        for topic, each in sanitize.mapping(
            sanitize.mapping(found.rationales.get("counts")).get("topics")
        ).items()
    }
    return {
        sanitize.text(topic, limit=60): number
        for topic, count in (by_topic or kept).items()
        if (number := sanitize.whole(count)) is not None
    }


def loss_curve(found: Distillation, *, name: str) -> Curve | None:
    """The training loss of the student and of its control; None without a log.

    Args:
        found: the distillation.
        name: prefix of ids.
    """
    trainings = []
    for each, role in ((found.training, "distilled"), (found.control, "baseline")):
        if each is not None:
            title = sanitize.text(each.name, limit=60) + (
                " (control)" if role == "baseline" else ""
            )
            trainings.append((title, role, losses(each.log())))
    return curve(trainings, name=f"{name}-loss", note=_difference(found))


def evaluations_curve(found: Distillation, *, name: str) -> ValidationCurve | None:
    """The evaluations of the student while it was trained; None where there were none.

    Args:
        found: the distillation.
        name: prefix of ids.
    """
    if found.training is None:
        return None
    config = sanitize.mapping(found.training.record.get("config"))
    by = sanitize.text(config.get("best_by"), limit=20) or "score"
    return validation_curve(
        list(found.training.evaluations()), name=f"{name}-validation", best_by=by
    )


def chosen_student(training: Training) -> str:
    """Which of its states the student is, in words; "": that of the last step."""
    try:
        return sanitize.text(choice_in_words(training.record), limit=600)
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""  # a record from elsewhere


def speed_in_words(training: Training) -> str:
    """Tokens a second, memory and the gradient's norm over the steps; "": not known."""
    rows = list(training.log())
    speeds = [
        tokens / seconds
        for row in rows
        if (tokens := sanitize.number(row.get("tokens"))) is not None
        and (seconds := sanitize.number(row.get("seconds")))
    ]
    norms = [n for row in rows if (n := sanitize.number(row.get("grad_norm"))) is not None]
    memory = [n for row in rows if (n := sanitize.number(row.get("memory"))) is not None]
    parts = []
    if speeds:
        parts.append(f"{median(speeds):,.0f} tokens/s (median)")
    if memory:
        parts.append(f"{max(memory) / 1e9:.2f} GB at the most")
    if norms:
        parts.append(
            f"gradient norm {significant(median(norms))} (median), {significant(max(norms))} at "
            "the most"
        )
    return "; ".join(parts)


def objective_title(training: Training) -> str:
    """What a student was trained on, in words; "": not known."""
    objective = recorded_objective(training.record)
    if objective is not None:
        return objective.title
    recorded = sanitize.mapping(training.record.get("objective"))
    return sanitize.text(recorded.get("title"), limit=60)


def _difference(found: Distillation) -> str:
    """Why the losses of student and control are not comparable; "": they are, or it is not
    known."""
    if not (found.training and found.control):
        return ""
    kinds = [recorded_objective(each.record) for each in (found.control, found.training)]
    control, student = (kind.writes if kind else "" for kind in kinds)
    if not (control and student) or control == student:
        return ""
    return (
        f"The two losses are not comparable: the control predicts {control}, the student {student}."
    )
