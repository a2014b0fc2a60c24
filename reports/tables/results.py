"""The tables of the runs of one task: how good, and at what cost. Runs that share enough questions
stand together, best first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from harness.checkpoints.catalog import CATALOG
from harness.run.records import RunRecord
from reports.inputs import runs
from reports.inputs.metrics import MetricFormat, decisive, formats
from reports.inputs.paper import PaperTable
from reports.numbers import fixed
from reports.statistics.ranks import Rank
from reports.statistics.sanity import check
from reports.tables import columns
from reports.tables.columns import Column
from reports.tables.rows import run_row
from reports.tables.run_sets import RunSet, run_sets
from reports.tables.table import Cell, Group, Heading, Row, Table, table


def scores(
    records: Sequence[RunRecord],
    paper: PaperTable | None,
    ranks: Mapping[str, Rank] = MappingProxyType({}),
    *,
    ranked_by: str = "",
    sets: Sequence[RunSet] = (),
    parsed: Sequence[Column] = (),
) -> Table:
    """All metrics of a task, the decisive one by topic too: the paper's columns and what else
    there is.

    Args:
        records: of one task.
        paper: the paper's table of that task.
        ranks: by run id, as far as they are known; none: no such column.
        ranked_by: the title of the metric that they compare.
        sets: the runs as they stand together; none: as their records say.
        parsed: columns of the answers that could be parsed, next to the decisive metric.
    """
    main = main_metric(records, paper)
    chosen = _scores(records, paper, main)
    names = {name for run in records for name in run.metrics}
    chosen += [c for c in columns.OUTCOMES if c.key in names or _any(c, records)]
    chosen += [c for c in (columns.MINUTES, *columns.PACE) if _known(c, records)]
    if main is not None:
        place = next(n for n, column in enumerate(chosen) if column.key == main.name)
        chosen[place + 1 : place + 1] = parsed
        chosen[place] = _with_counts(chosen[place], sets)
    if ranks:
        chosen.insert(0, columns.ranked(ranks, ranked_by))
    in_percent = main is not None and main.unit == "%"
    caption = f"{main.title} in percent" if main and in_percent else "Metrics"
    return _table(
        "measured",
        f"{caption}, each with its 95% interval and n",
        sets or run_sets(records),
        chosen=chosen,
        headline=_headline(chosen, main),
    )


def _with_counts(column: Column, sets: Sequence[RunSet]) -> Column:
    """The column with how many questions have no answer below each figure."""
    counts = {name: words for each in sets for name, words in each.without_answer.items()}

    def fill(run: RunRecord) -> Cell:
        return replace(column.fill(run), also=counts.get(runs.run_id(run), ""))

    return replace(column, fill=fill)


def main_metric(
    records: Sequence[RunRecord], paper: PaperTable | None = None
) -> MetricFormat | None:
    """The metric that decides among these runs or, where none has a score, among the paper's."""
    found = decisive(records)
    return paper.format(paper.decisive) if found is None and paper else found


def _scores(
    records: Sequence[RunRecord], paper: PaperTable | None, main: MetricFormat | None
) -> list[Column]:
    """The columns of the metrics, with the picture and the topics of the decisive one next to
    it."""
    known = formats(records)
    chosen = _as_the_paper(paper, known) if paper else []
    shown = {column.key for column in chosen}
    others = [each for name, each in known.items() if name not in shown]
    if main and main.name not in shown:
        others.sort(key=lambda each: each.name != main.name)
    chosen += [columns.metric(each) for each in others[: columns.MAX_METRICS]]
    if main is None:
        return chosen
    place = next(n for n, column in enumerate(chosen, start=1) if column.key == main.name)
    more = (*columns.scale(main, paper), *columns.by_topic(records, main, paper))
    return [*chosen[:place], *more, *chosen[place:]]


def _as_the_paper(paper: PaperTable, known: Mapping[str, MetricFormat]) -> list[Column]:
    """The columns that the paper's table has, run or not, and its titles of others."""
    printed = {column.metric for column in paper.columns}
    return [
        columns.metric(known.get(c.metric, paper.format(c.metric)), c.key, c.meaning)
        for c in paper.measured
        if c.metric in known or c.metric in printed
    ]


def not_run(records: Sequence[RunRecord], paper: PaperTable, *, mini: bool) -> Iterator[str]:
    """The paper's models that have no run of this task, as titles; `mini`: as minis."""
    names = {str(run.model.name) for run in records}
    for spec in CATALOG:
        printed = paper.row(spec.name)
        if {spec.name, f"{spec.name}-mini"} & names or (printed is None and spec.repo is not None):
            continue
        title = printed.model if printed else spec.title
        yield f"{title}-mini" if mini else title


def _any(column: Column, records: Sequence[RunRecord]) -> bool:
    """Whether there is something to count: a column of zeros says nothing."""
    return any(column.fill(run).value for run in records)


def _known(column: Column, records: Sequence[RunRecord]) -> bool:
    """Whether any run has it: answers that were made elsewhere are not timed."""
    return any(column.fill(run).value is not None for run in records)


def costs(sets: Sequence[RunSet]) -> Table | None:
    """Time, tokens, memory and energy of the runs that were timed; None where none was."""
    timed = [
        replace(each, runs=found, is_ordered=False)
        for each in sets
        if (found := tuple(filter(_is_timed, each.runs)))
    ]
    if not timed:
        return None
    return _table(
        "cost", "Time and memory", timed, chosen=columns.COST, headline=columns.MINUTES.key
    )


def _is_timed(run: RunRecord) -> bool:
    return runs.timing(run, "inference_minutes") is not None


def every_topic(records: Sequence[RunRecord], paper: PaperTable | None = None) -> Table | None:
    """The decisive metric by topic, the paper's where it has one: all topics of the data by name,
    a column for each run; None where `scores` shows them all."""
    main = main_metric(records)
    if main is None:
        return None
    in_scores = paper is None or bool(paper.topics)
    if not in_scores and paper:
        main = formats(records).get(paper.decisive, main)
    names = runs.topics(records, main.name)
    shown = (
        {column.key for column in columns.by_topic(records, main, paper)} if in_scores else set()
    )
    if set(names) <= shown:
        return None
    percent = main.unit == "%"
    title = f"{main.in_words} in percent" if percent else main.title
    return table(
        f"{runs.task_id(records[0])}-topics",
        f"All topics: {title}, each with its 95% interval and n",
        [
            Heading(
                key=runs.run_id(run),
                title=runs.title(run),
                meaning=runs.asked(run),
                implied_unit=main.unit,
                best=main.best,
            )
            for run in records
        ],
        groups=[
            Group(
                rows=tuple(
                    Row(
                        title=runs.topic(name),
                        cells=tuple(columns.score(main, name)(run) for run in records),
                    )
                    for name in names
                )
            )
        ],
        row_title="Topic",
    )


def _headline(chosen: Sequence[Column], main: MetricFormat | None) -> str:
    """The column that rows are sorted by at first: the decisive metric, or else the first one that
    is no rank."""
    keys = [column.key for column in chosen if column.key != "rank"]
    return main.name if main and main.name in keys else keys[0]


def best_first(group: Sequence[RunRecord]) -> list[RunRecord]:
    """By the decisive metric; those without it last."""
    main = main_metric(group)

    def key(run: RunRecord) -> tuple[bool, float]:
        value = runs.figure(run, main.name).value if main else None
        return value is None, -(main.sign if main else 1) * (value or 0.0)

    return sorted(group, key=key)


def _table(
    name: str,
    caption: str,
    sets: Sequence[RunSet],
    *,
    chosen: Sequence[Column],
    headline: str,
) -> Table:
    place = [column.key for column in chosen].index(headline)
    sign = 1 if chosen[place].lower_is_better else -1

    def best_first(row: Row) -> tuple[bool, float]:
        value = row.cells[place].value
        return value is None, sign * (value or 0.0)

    titles = [each.title for each in sets]
    groups: list[Group] = []
    is_sorted = True
    for each, title in zip(sets, titles, strict=True):
        rows = [_row(run, chosen) for run in each.runs]
        by_figure = sorted(rows, key=best_first)
        is_sorted &= not each.is_ordered or rows == by_figure
        # Data of the same name and size may still differ.
        parts = (title, runs.data(each.runs[0]) if titles.count(title) > 1 else "", each.apart)
        groups.append(
            Group(
                rows=tuple(rows if each.is_ordered else by_figure),
                title=" · ".join(filter(None, parts)),
                chance=_chance(each.runs),
            )
        )
    return table(
        f"{runs.task_id(sets[0].runs[0])}-{name}",
        caption,
        [column.heading for column in chosen],
        groups=groups,
        sorted_by=headline if is_sorted else "",
    )


def _chance(group: Sequence[RunRecord]) -> str:
    """Chance as the runs computed it: of a partial run it may be another than of a full one."""
    found = {runs.chance(run) for run in group}
    return " or ".join(f"{fixed(c * 100, 1)}%" for c in sorted(c for c in found if c is not None))


def _row(run: RunRecord, chosen: Sequence[Column]) -> Row:
    findings = check(runs.figures(run, {column.key: column.title for column in chosen}))
    cells = []
    for column in chosen:
        cell = column.fill(run)
        about = (finding for finding in findings if column.key in finding.metrics)
        cells.append(replace(cell, findings=(*cell.findings, *about)))
    return run_row(run, cells)
