"""What training changed, topic by topic: a table and a scatter plot."""

from __future__ import annotations

from collections.abc import Mapping

from harness.metrics.statistics import wilson
from reports.charts.scatter import Scatter, Topic, scatter
from reports.distillation.models import ModelRun, Models
from reports.distillation.summary import on_questions
from reports.inputs import runs
from reports.numbers import fixed
from reports.tables import heatmap
from reports.tables.heatmap import Change
from reports.tables.table import Cell, Group, Heading, Row, Table, missing, table


def gains(models: Models, trained: Mapping[str, int], *, name: str) -> Table | None:
    """The table of accuracies before and after training by topic; None without both runs.

    Args:
        models: of the distillation.
        trained: topic -> training questions; empty: not known.
        name: prefix of ids.
    """
    base, student, change = models.base, models.student, models.change
    if not (base and student and change):
        return None
    metric = student.answers.metric
    heat = heatmap.heat_of(
        metric, (s * metric.scale for each in change.values() for s in (each.first, each.second))
    )
    rows = [_row(topic, each, models, trained=trained, heat=heat) for topic, each in change.items()]
    binary = student.answers.scored.test == base.answers.scored.test == "mcnemar"
    test = "exact McNemar test" if binary else "paired bootstrap"
    is_among_all = models.tested(base.answers.run, student.answers.run) is not None
    return table(
        f"{name}-gains",
        f"{student.title} minus {base.title} by topic, {_on(models)}",
        [
            Heading(key="trained", title="Trained", meaning="training questions of the topic"),
            Heading(key="first", title=base.title, implied_unit=metric.unit, best=metric.best),
            Heading(key="second", title=student.title, implied_unit=metric.unit, best=metric.best),
            Heading(
                key="difference",
                title="Difference",
                unit=metric.difference_unit,
                best=metric.best,
            ),
            Heading(
                key="words",
                title="Result",
                meaning=f"{test} at 5%, Holm correction over the topics; of all questions"
                f"{' over all pairs of runs' if is_among_all else ', one test without it'}",
                kind="text",
                best="ascending",
            ),
        ],
        groups=[Group(rows=tuple(rows))],
        row_title="Topic",
    )


def _on(models: Models) -> str:
    """Which questions the two are compared on, within a caption."""
    base, student, whole = models.base, models.student, models.change.get("")
    if not (base and student and whole) or base.answered == student.answered == whole.n:
        return "on the same questions"
    text = on_questions(base, student, whole.n)
    return f"{text[:1].lower()}{text[1:]}"


def _row(
    topic: str, each: Change, models: Models, *, trained: Mapping[str, int], heat: heatmap.Heat
) -> Row:
    assert models.student is not None  # a change is one of the student
    metric = models.student.answers.metric
    count = trained.get(topic, 0) if topic else sum(trained.values())
    scores = [each.first * metric.scale, each.second * metric.scale]
    return Row(
        title=topic or "All questions",
        cells=(
            Cell(text=f"{count:,}", value=count)
            if trained
            else missing("the training record has no counts"),
            *(
                Cell(text=fixed(s, metric.digits), value=s, n=each.n, tone=heat.tone(s))
                for s in scores
            ),
            heatmap.cell(each, metric, tints=models.tints),
            Cell(text=_verdict(each), kind="text"),
        ),
    )


def _verdict(each: Change) -> str:
    if not each.certain:
        return "not significant"
    return "better" if each.gain > 0 else "worse"


def topic_scatter(models: Models, trained: Mapping[str, int], *, name: str) -> Scatter | None:
    """Training questions of each topic against the score in it; arguments as for `gains`."""
    if models.student is None or not trained:
        return None
    metric = models.student.answers.metric
    topics = []
    for topic, each in models.change.items():
        if topic:
            low, high = _ends(models.student, topic, each)
            topics.append(
                Topic(
                    name=topic,
                    trained=trained.get(topic, 0),
                    score=each.second * metric.scale,
                    low=None if low is None else low * metric.scale,
                    high=None if high is None else high * metric.scale,
                    n=each.n,
                    gain=each.difference * metric.scale,
                )
            )
    return scatter(topics, metric, name=f"{name}-topics")


def _ends(student: ModelRun, topic: str, each: Change) -> tuple[float | None, float | None]:
    """The 95% interval of the student's score in a topic; that of a run's own figure where both
    answered the same questions of it."""
    if student.answers.scored.test == "mcnemar":
        ends = wilson(round(each.second * each.n), each.n)
        return ends.low, ends.high
    found = runs.figure(student.evidence.record, f"{student.answers.metric.name}/{topic}")
    return (found.low, found.high) if found.n == each.n else (None, None)
