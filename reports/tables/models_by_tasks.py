"""The first table of the page: models by tasks, each cell the decisive score of one run.

A column has a metric of its own, so no figure goes across columns. The best score of a column is
marked where paired tests put its run before every other one of the column, and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.run.records import RunRecord
from reports.inputs import runs, sanitize
from reports.inputs.metrics import MetricFormat, decisive
from reports.numbers import counted
from reports.statistics.ranks import Rank
from reports.tables import columns
from reports.tables.table import Cell, Group, Heading, Row, Table, missing, table

NAME = "models-by-tasks"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRuns:
    """The runs of one task, and what is known of their order."""

    title: str
    section: str
    """The id of its section."""
    runs: Sequence[RunRecord]
    tested: Sequence[Mapping[str, Rank]]
    """Ranks by run id; one mapping for all runs that are tested against each other."""
    is_ordered: bool = False
    """`runs` are best first by paired tests: their own figures are of different questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """Runs with comparable scores: of one task, one split, minis apart."""

    heading: Heading
    metric: MetricFormat
    runs: Mapping[str, RunRecord]
    """By the key of their row."""
    ranks: Mapping[str, Rank]
    """Empty where some of them were not tested against the others."""
    is_ordered: bool
    """`runs` are best first."""

    @property
    def places(self) -> dict[str, float]:
        """The key of a row -> its place in this column, best first."""
        if self.is_ordered:
            return {key: place for place, key in enumerate(self.runs)}
        figures = ((key, runs.figure(run, self.metric.name)) for key, run in self.runs.items())
        return {key: -self.metric.sign * (figure.value or 0.0) for key, figure in figures}


def models_by_tasks(tasks: Sequence[TaskRuns]) -> Table | None:
    """A row for each model and a column for each task and split; None where nothing is scored."""
    found = [column for task in tasks for column in _columns(task)]
    if not found:
        return None
    models: dict[str, RunRecord] = {}
    for column in found:
        for key, run in column.runs.items():
            models.setdefault(key, run)
    titles = Counter(map(runs.title, models.values()))
    places = [column.places for column in found]
    best_first = sorted(models, key=lambda key: [(key not in p, p.get(key, 0.0)) for p in places])
    rows = [
        Row(
            title=_row_title(run, titles),
            size=runs.size(run),
            role=runs.role(run),
            origin=", ".join(filter(None, (runs.label(run), "measured"))),
            cells=tuple(_cell(column, column.runs.get(key)) for column in found),
        )
        for key in best_first
        for run in [models[key]]
    ]
    return table(
        NAME,
        "Score of each model in each task, with its 95% interval",
        [column.heading for column in found],
        groups=[Group(rows=tuple(rows))],
        sorted_by="" if found[0].is_ordered else found[0].heading.key,
    )


def _row_title(run: RunRecord, titles: Mapping[str, int]) -> str:
    title = runs.title(run)
    return title if titles[title] == 1 else f"{title} ({sanitize.text(run.model.name, limit=60)})"


def _columns(task: TaskRuns) -> list[_Column]:
    parts: dict[tuple[str, str], list[RunRecord]] = {}
    for run in task.runs:
        parts.setdefault((runs.label(run), sanitize.text(run.task.split, limit=60)), []).append(run)
    made = [_column(task, split, found) for (_, split), found in parts.items()]
    known = [column for column in made if column]
    same = Counter(column.heading.title for column in known)
    return [
        replace(column, heading=replace(column.heading, title=_told_apart(column)))
        if same[column.heading.title] > 1
        else column
        for column in known
    ]


def _told_apart(column: _Column) -> str:
    """The title of a column whose task has others: with its split, and what its runs are."""
    run = next(iter(column.runs.values()))
    parts = (column.heading.title, sanitize.text(run.task.split, limit=60), runs.label(run))
    return ", ".join(part for part in parts if part)


def _column(task: TaskRuns, split: str, found: Sequence[RunRecord]) -> _Column | None:
    metric = decisive(found)
    if metric is None:
        return None
    scored = {_model(run): run for run in found if runs.figure(run, metric.name).value is not None}
    if not scored:
        return None
    ids = {runs.run_id(run) for run in scored.values()}
    ranks = next((each for each in task.tested if ids <= each.keys()), {})
    sizes = {runs.figure(run, metric.name).n for run in scored.values()}
    partial = {_partial(run) for run in scored.values()}
    also = partial.pop() if len(partial) == len(sizes) == 1 else ""
    return _Column(
        heading=Heading(
            key=f"{task.section}~{split}~{runs.label(found[0])}",
            title=task.title,
            meaning=metric.meaning,
            unit=metric.in_full,
            n=sizes.pop() if len(sizes) == 1 else None,
            also=also and f" of {also.rpartition(' of ')[2]}",
            best=metric.best,
        ),
        metric=metric,
        runs=scored,
        ranks=ranks,
        is_ordered=task.is_ordered,
    )


def _model(run: RunRecord) -> str:
    return f"{run.model.name}~{runs.label(run)}"


def _cell(column: _Column, run: RunRecord | None) -> Cell:
    if run is None:
        return replace(missing("not measured"), about="Not measured.")
    metric, rank = column.metric, column.ranks.get(runs.run_id(run))
    cell = columns.score(metric)(run)
    best = rank == Rank(1, 1) and len(column.runs) > 1
    return replace(
        cell,
        also="" if column.heading.also else _partial(run),
        best=best,
        about=_about(column, run, cell, rank),
    )


def _partial(run: RunRecord) -> str:
    """How many of its questions a partial run was asked."""
    done, available = (
        sanitize.whole(count) or 0 for count in (run.counts.done, run.counts.available)
    )
    return f"{done:,} of {available:,}" if done < available else ""


def _about(column: _Column, run: RunRecord, cell: Cell, rank: Rank | None) -> str:
    """What the cell says, in words, with its n and its rank."""
    metric = column.metric
    unparsed = sanitize.whole(run.counts.unparsed) or 0
    parts = [
        f"{metric.in_words} {cell.text}{metric.unit}",
        f"95% interval {cell.interval}" if cell.interval else "no interval",
        f"n {cell.n:,}" if cell.n else "n unknown",
        runs.origin(run).removeprefix(f"{runs.label(run)}, "),
        f"{counted(unparsed, 'answer')} unparsed" if unparsed else "",
        _rank(rank, len(column.runs)),
    ]
    return ", ".join(part for part in parts if part and part != "measured") + "."


def _rank(rank: Rank | None, models: int) -> str:
    if rank is None or models < 2:
        return ""
    if rank.certain:
        return f"rank {rank.best} of {models}"
    return f"ranks {rank.best}\N{EN DASH}{rank.worst} of {models}: not separable"
