"""The panel of a distillation: its rationales, its training, its gains and losses.

What a distillation left on disk may be partial, and may come from anywhere: each part is shown that
is there, and numbers and texts pass `reports.inputs.sanitize`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.core.files.paths import safe_name
from reports.charts.loss import Curve
from reports.charts.scatter import Scatter
from reports.charts.validation import ValidationCurve
from reports.distillation import summary
from reports.distillation.examples import (
    Example,
    Picture,
    TeacherLead,
    TrainingRationale,
    input_output,
    teacher_lead,
    training_rationale,
)
from reports.distillation.gains import gains, topic_scatter
from reports.distillation.models import models_of
from reports.distillation.rationales import drop_reasons, kept_by_topic, quality
from reports.distillation.structure import error_examples, reasoning_errors, tag_compliance
from reports.distillation.training import evaluations_curve, loss_curve, trained_questions
from reports.inputs import runs, sanitize
from reports.inputs.material import Distillation
from reports.statistics.answers import Answers
from reports.tables.heatmap import Legend, Tested, untested
from reports.tables.table import Table, labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Everything that the page shows of one distillation; None or empty: not there."""

    id: str
    """Of the element of the page."""
    title: str
    label: str
    """"mini (synthetic)" where its runs are."""
    headline: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    """Name and value."""
    score: str
    """What its models are compared by, within a sentence."""
    is_right_or_wrong: bool
    """Its answers are right or wrong, not graded."""
    gains: Table | None
    legend: Legend
    """Of the differences in it."""
    comparisons: tuple[str, ...]
    """Pairs of runs in words: student, control and teacher against the distilled one."""
    curve: Curve | None
    validation: ValidationCurve | None
    """Of the evaluations while the student was trained."""
    scatter: Scatter | None
    kept: Table | None
    reasons: tuple[tuple[str, int], ...]
    """Why rationales were dropped, most frequent first."""
    quality: Table | None
    tags: Table | None
    errors: str
    error_examples: tuple[Example, ...]
    input_output: Example | None
    rationale: TrainingRationale | None
    """Of the training set."""
    teacher_lead: TeacherLead | None
    problems: tuple[str, ...]

    @property
    def tables(self) -> tuple[Table, ...]:
        return tuple(t for t in (self.gains, self.kept, self.quality, self.tags) if t)


def panel(
    found: Distillation,
    answers: Mapping[str, Answers],
    tested: Tested = untested,
    *,
    picture: Picture,
) -> Panel:
    """Make the panel of a distillation.

    Args:
        found: what it left on disk, and its runs.
        answers: by run id.
        tested: the tests of all pairs of runs.
        picture: the address of a picture that an answer names.
    """
    models, trained = models_of(found, answers, tested), trained_questions(found)
    student = models.student
    name = f"distillation:{safe_name(sanitize.text(found.name))}"
    label = runs.label(student.evidence.record) if student else ""

    def named(it: Table | None) -> Table | None:
        return labelled(it, label) if it else None

    return Panel(
        id=name,
        title=student.title if student else sanitize.text(found.name, limit=80),
        label=label,
        headline=tuple(summary.headline(models)),
        facts=tuple((term, text) for term, text in summary.facts(found, models) if text),
        score=student.answers.metric.in_words if student else "score",
        is_right_or_wrong=student is not None and student.answers.scored.test == "mcnemar",
        gains=named(gains(models, trained, name=name)),
        legend=models.tints.legend,
        comparisons=tuple(summary.comparisons(found, models)),
        curve=loss_curve(found, name=name),
        validation=evaluations_curve(found, name=name),
        scatter=topic_scatter(models, trained, name=name),
        kept=named(kept_by_topic(found, name=name)),
        reasons=tuple(drop_reasons(found)),
        quality=named(quality(found, name=name)),
        tags=named(tag_compliance(models, name=name)),
        errors=reasoning_errors(models),
        error_examples=error_examples(models, picture),
        input_output=input_output(models, picture),
        rationale=training_rationale(found),
        teacher_lead=teacher_lead(models, picture),
        problems=tuple(sanitize.text(problem, limit=400) for problem in found.problems),
    )
