"""The training of a distilled student: its questions by topic and its loss."""

from __future__ import annotations

from collections.abc import Mapping

from distill.objectives import recorded_objective
from reports.charts.loss import Curve, curve, losses
from reports.inputs import sanitize
from reports.inputs.material import Distillation, Training


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
