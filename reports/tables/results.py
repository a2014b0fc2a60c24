"""The tables of the runs of one task: how good, and at what cost. Rows of one group answered the
same questions, best first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from harness.checkpoints.catalog import CATALOG
from harness.run.records import RunRecord
from reports.inputs import runs, sanitize
from reports.inputs.paper import PaperTable
from reports.numbers import fixed
from reports.statistics.ranks import Rank
from reports.statistics.sanity import ACCURACY, check
from reports.tables import columns
from reports.tables.columns import Column, Fill
from reports.tables.rows import run_row
from reports.tables.table import Group, Heading, Row, Table, missing, table


def scores(
    records: Sequence[RunRecord],
    paper: PaperTable | None,
    ranks: Mapping[str, Rank] = MappingProxyType({}),
    *,
    complete: bool = False,
) -> Table:
    """Accuracies by topic, text metrics, or both: the paper's columns and what else there is.

    Args:
        records: of one task.
        paper: the paper's table of that task.
        ranks: by run id, as far as they are known; none: no such column.
        complete: with a row of dashes for each model of the paper that was not run.
    """
    names = {metric for run in records for metric in run.metrics}
    expected = {column.metric for column in paper.columns} if paper else set()
    chosen: list[Column] = []
    if ACCURACY in names | expected:
        chosen += columns.accuracy(records, paper)
    chosen += [c for c in columns.TEXT_METRICS if c.key in names | expected]
    known = {"chance", *(c.key for c in (*chosen, *columns.OUTCOMES))}
    own = sorted(m for m in names - known if "/" not in m)[: columns.MAX_OWN_METRICS]
    chosen += [Column(m, sanitize.text(m, limit=40), columns.score(m)) for m in own]
    chosen += [c for c in columns.OUTCOMES if c.key in names or _any(c, records)]
    chosen += [columns.MINUTES, *columns.PACE]
    if ranks:
        chosen.insert(0, columns.ranked(ranks, "ROUGE-L" if ACCURACY not in names else ACCURACY))
    caption = "Accuracy in percent" if ACCURACY in names | expected else "Metrics"
    return _table(
        "measured",
        f"{caption}, each with its 95% interval and n",
        records,
        chosen=chosen,
        headline=headline(chosen),
        more=_not_run(records, paper, chosen) if complete and paper else (),
    )


def _not_run(
    records: Sequence[RunRecord], paper: PaperTable, chosen: Sequence[Column]
) -> Sequence[Group]:
    """The paper's models that have no run of this task."""
    names = {str(run.model.name) for run in records}
    rows = []
    for spec in CATALOG:
        printed = paper.row(spec.name)
        if {spec.name, f"{spec.name}-mini"} & names or (printed is None and spec.repo is not None):
            continue
        reason = "not measured yet"
        rows.append(
            Row(
                title=printed.model if printed else spec.title,
                size=printed.size if printed else spec.size,
                role=spec.role,
                origin=reason,
                cells=tuple(missing(reason, kind=column.kind) for column in chosen),
            )
        )
    return [Group(title="Models of the paper without a run", rows=tuple(rows))] if rows else []


def _any(column: Column, records: Sequence[RunRecord]) -> bool:
    """Whether there is something to count: a column of zeros says nothing."""
    return any(column.fill(run).value for run in records)


def costs(records: Sequence[RunRecord]) -> Table | None:
    """Time, tokens, memory and energy of the runs that were timed; None where none was."""
    timed = [run for run in records if runs.timing(run, "inference_minutes") is not None]
    if not timed:
        return None
    return _table(
        "cost", "Time and memory", timed, chosen=columns.COST, headline=columns.MINUTES.key
    )


def every_topic(records: Sequence[RunRecord]) -> Table | None:
    """Accuracy, or else ROUGE-1, by topic: all topics of the data by name, a column for each run;
    None where `scores` shows them all."""
    if len(runs.topics(records)) > columns.MAX_TOPICS:
        return _by_topic(records, ACCURACY, columns.percent, caption="accuracy in percent")
    if runs.topics(records, "rouge1"):
        return _by_topic(records, "rouge1", columns.score, caption="ROUGE1")
    return None


def _by_topic(
    records: Sequence[RunRecord], metric: str, fill: Callable[[str], Fill], *, caption: str
) -> Table:
    names = runs.topics(records, metric)
    rows = [
        Row(title=runs.topic(name), cells=tuple(fill(name)(run) for run in records))
        for name in names
    ]
    return table(
        f"{runs.task_id(records[0])}-topics",
        f"All topics: {caption}, each with its 95% interval and n",
        [
            Heading(
                key=runs.run_id(run),
                title=runs.title(run),
                meaning=runs.asked(run),
                implied_unit="%" if metric == ACCURACY else "",
            )
            for run in records
        ],
        groups=[Group(rows=tuple(rows))],
        row_title="Topic",
    )


def headline(chosen: Sequence[Column]) -> str:
    """The column that rows are sorted by at first: accuracy, ROUGE-L, ROUGE-1, or else the first
    one that is no rank."""
    keys = [column.key for column in chosen if column.key != "rank"]
    return next((key for key in (ACCURACY, columns.TEXT_RANK, "rouge1") if key in keys), keys[0])


def best_first(group: Sequence[RunRecord]) -> list[RunRecord]:
    """By accuracy, ROUGE-L or ROUGE-1, whichever these runs have; those without it last."""
    names = {metric for run in group for metric in run.metrics}
    metric = next((m for m in (ACCURACY, columns.TEXT_RANK, "rouge1") if m in names), ACCURACY)

    def key(run: RunRecord) -> tuple[bool, float]:
        value = runs.figure(run, metric).value
        return value is None, -(value or 0.0)

    return sorted(group, key=key)


def same_questions(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """The runs in groups that were asked the same questions, the largest set of them first."""
    groups: dict[tuple[str, ...], list[RunRecord]] = {}
    for run in records:
        groups.setdefault(runs.same_questions(run), []).append(run)
    return sorted(groups.values(), key=lambda g: -(sanitize.whole(g[0].counts.available) or 0))


def _table(
    name: str,
    caption: str,
    records: Sequence[RunRecord],
    *,
    chosen: Sequence[Column],
    headline: str,
    more: Sequence[Group] = (),
) -> Table:
    place = [column.key for column in chosen].index(headline)
    sign = 1 if chosen[place].lower_is_better else -1

    def best_first(row: Row) -> tuple[bool, float]:
        value = row.cells[place].value
        return value is None, sign * (value or 0.0)

    groups = same_questions(records)
    asked = [runs.asked(group[0]) for group in groups]
    return table(
        f"{runs.task_id(records[0])}-{name}",
        caption,
        [column.heading for column in chosen],
        groups=[
            Group(
                rows=tuple(sorted((_row(run, chosen) for run in group), key=best_first)),
                # Data of the same name and size may still differ.
                title=title if asked.count(title) == 1 else f"{title} · {runs.data(group[0])}",
                chance=_chance(group),
            )
            for group, title in zip(groups, asked, strict=True)
        ]
        + list(more),
        sorted_by=headline,
    )


def _chance(group: Sequence[RunRecord]) -> str:
    """Chance as the runs computed it: of a partial run it may be another than of a full one."""
    found = {runs.figure(run, "chance").value for run in group}
    return " or ".join(f"{fixed(c * 100, 1)}%" for c in sorted(c for c in found if c is not None))


def _row(run: RunRecord, chosen: Sequence[Column]) -> Row:
    findings = check(runs.figures(run, {column.key: column.title for column in chosen}))
    cells = []
    for column in chosen:
        cell = column.fill(run)
        about = (finding for finding in findings if column.key in finding.metrics)
        cells.append(replace(cell, findings=(*cell.findings, *about)))
    return run_row(run, cells)
