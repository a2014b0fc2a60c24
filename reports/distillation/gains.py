"""What training changed, topic by topic: a table and a scatter plot."""

from __future__ import annotations

from collections.abc import Mapping

from harness.metrics.statistics import wilson
from reports.charts.scatter import Scatter, Topic, scatter
from reports.distillation.models import Models
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
    rows = []
    for topic, each in change.items():
        shares = [each.first / each.n * 100, each.second / each.n * 100]
        count = sum(trained.values()) if not topic else trained.get(topic, 0)
        rows.append(
            Row(
                title=topic or "All questions",
                cells=(
                    Cell(text=f"{count:,}", value=count)
                    if trained
                    else missing("the training record has no counts"),
                    *(
                        Cell(text=fixed(s, 2), value=s, n=each.n, tone=heatmap.heat(s))
                        for s in shares
                    ),
                    heatmap.cell(each),
                    Cell(text=_verdict(each), kind="text"),
                ),
            )
        )
    return table(
        f"{name}-gains",
        f"{student.title} minus {base.title} by topic, on the same questions",
        [
            Heading(key="trained", title="Trained", meaning="training questions of the topic"),
            Heading(key="first", title=base.title, implied_unit="%"),
            Heading(key="second", title=student.title, implied_unit="%"),
            Heading(key="difference", title="Difference", unit="points"),
            Heading(
                key="words",
                title="Result",
                meaning="exact McNemar test at 5%, Holm correction over the topics",
                kind="text",
                best="ascending",
            ),
        ],
        groups=[Group(rows=tuple(rows))],
        row_title="Topic",
    )


def _verdict(each: Change) -> str:
    if not each.certain:
        return "not significant"
    return "better" if each.difference > 0 else "worse"


def topic_scatter(models: Models, trained: Mapping[str, int], *, name: str) -> Scatter | None:
    """Training questions of each topic against the accuracy in it; arguments as for `gains`."""
    topics = []
    for topic, each in models.change.items():
        if topic and trained:
            low, high = wilson(each.second, each.n)
            topics.append(
                Topic(
                    name=topic,
                    trained=trained.get(topic, 0),
                    accuracy=each.second / each.n * 100,
                    low=low * 100,
                    high=high * 100,
                    n=each.n,
                    gain=each.difference,
                )
            )
    return scatter(topics, name=f"{name}-topics")
