"""What the paper reports, as statements of the page's summary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from reports.inputs.paper import Paper, PaperRow, PaperTable, minutes
from reports.numbers import counted, duration, fixed
from reports.page.statements import Statement
from reports.statistics.sanity import Figure


def best(paper: Paper) -> Iterable[Statement]:
    """The first row of each table, and how far the second is."""
    for table in paper.tables:
        metric = table.decisive
        heading = next(column.key for column in table.columns if column.metric == metric)
        first, second = sorted(table.rows, key=lambda row: -float(row.cells[metric]))[:2]
        verdict = f"{first.model}, {heading} {first.cells[metric]}{table.unit}."
        text = f"Second: {second.model}, {second.cells[metric]}{table.unit}"
        ends = _unpaired(table.figures(first)[metric], table.figures(second)[metric])
        if ends:
            significant = ends[0] > 0 or ends[1] < 0
            zero = "does not include 0" if significant else "includes 0"
            shown = " to ".join(fixed(end * 100, 1, sign="+") for end in ends)
            text += f"; the 95% interval of the difference, {shown} points, {zero}"
        yield Statement(
            lead=f"In the paper, {table.title}",
            verdict=verdict,
            text=f"{text}. The paper publishes no predictions, so there is no paired test.",
            link=_printed_link(table),
            is_printed=True,
        )


def _unpaired(one: Figure, two: Figure) -> tuple[float, float] | None:
    """Newcombe's interval of the first minus the second, as of independent samples."""
    if one.low is None or one.high is None or two.low is None or two.high is None:
        return None
    a, b = float(one.value), float(two.value)
    return (
        a - b - math.hypot(a - one.low, two.high - b),
        a - b + math.hypot(one.high - a, b - two.low),
    )


def _printed_link(table: PaperTable) -> str:
    return f"#{table.task}-reported"


def _distilled(paper: Paper) -> Iterable[tuple[PaperTable, PaperRow, PaperRow, PaperRow]]:
    """(table, student, distilled, teacher) where the paper has all three."""
    for table in paper.tables:
        rows = [table.row(name) for name in ("moondream", "moondream-kd", "llava-cot")]
        if table.n is not None and rows[0] and rows[1] and rows[2]:
            yield table, rows[0], rows[1], rows[2]


def _by_topic(table: PaperTable, one: PaperRow, two: PaperRow) -> list[tuple[str, float]]:
    """(topic, the second minus the first), largest first."""
    found = [
        (column.meaning, float(two.cells[column.metric]) - float(one.cells[column.metric]))
        for column in table.columns
        if column in table.topics
    ]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def gained(paper: Paper) -> Iterable[Statement]:
    """What distillation changed."""
    for table, student, distilled, _ in _distilled(paper):
        old, new = student.cells[table.decisive], distilled.cells[table.decisive]
        topics = _by_topic(table, student, distilled)
        up = [topic for topic in topics if topic[1] > 0]
        down = [topic for topic in topics if topic[1] < 0]
        text = (
            f"Higher in {len(up)} of {len(topics)} topics, most in {up[0][0]} "
            f"({fixed(up[0][1], 2, sign='+')})"
        )
        if down:
            text += f"; lower in {_list(down)}"
        yield Statement(
            lead="In the paper",
            verdict=f"{fixed(float(new) - float(old), 2, sign='+')} points, from "
            f"{old}{table.unit} to {new}{table.unit}.",
            text=f"{text}. The two rows have different extractors.",
            link=_printed_link(table),
            is_printed=True,
        )


def _list(topics: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{topic} ({fixed(size, 2, sign='+')})" for topic, size in topics)


def teacher_lead(paper: Paper) -> Iterable[Statement]:
    """Where the teacher is ahead of the distilled model."""
    for table, _, distilled, teacher in _distilled(paper):
        topics = _by_topic(table, distilled, teacher)
        ahead = [topic for topic in topics if topic[1] > 0]
        every = "every topic" if len(ahead) == len(topics) else counted(len(ahead), "topic")
        yield Statement(
            lead="In the paper",
            verdict=f"{teacher.model} is ahead of {distilled.model} in {every}.",
            text=f"Most in {ahead[0][0]} ({fixed(ahead[0][1], 2, sign='+')} points), least in "
            f"{ahead[-1][0]} ({fixed(ahead[-1][1], 2, sign='+')}); the paper shows no single "
            "question.",
            link=_printed_link(table),
            is_printed=True,
        )


def pace(paper: Paper) -> Iterable[Statement]:
    """Seconds a question: reported minutes divided by our count of the questions."""
    for table in paper.tables:
        if table.n is None:
            continue
        n = table.n
        found = sorted(
            (minutes(row.cells["inference_minutes"]) * 60 / n, row.model) for row in table.rows
        )
        named = [f"{model} (about {duration(seconds)})" for seconds, model in found]
        yield Statement(
            lead="In the paper",
            verdict=f"Fastest: {named[0]}. Slowest: {named[-1]}.",
            text=f"{', '.join(named[1:-1])}: reported minutes divided by {n:,} questions "
            "(our count).",
            link=_printed_link(table),
            is_printed=True,
        )


def wrong(paper: Paper) -> Iterable[Statement]:
    """Figures that cannot be right, do not fit our n or are doubtful."""
    for table in paper.tables:
        titles = {column.metric: column.key for column in table.columns}
        found: dict[str, list[str]] = {"impossible": [], "misfit": [], "doubtful": []}
        for row in table.rows:
            for finding in table.findings(row):
                if finding.kind in found:
                    cells = " = ".join(
                        f"{titles[metric]} {row.cells[metric]}"
                        for metric in finding.metrics
                        if metric in row.cells
                    )
                    found[finding.kind].append(f"{row.model} {cells}")
        wrong, misfits, doubts = (", ".join(dict.fromkeys(each)) for each in found.values())
        yield Statement(
            lead=f"Table {table.number}, {table.title}",
            verdict=" ".join(
                (
                    f"{wrong} cannot be right." if wrong else "None is impossible.",
                    *((f"Not of our n: {misfits}.",) if misfits else ()),
                )
            ),
            text=(f"Doubtful: {doubts}. " if doubts else "")
            + "Each is marked in the table, with its reason below it.",
            link=_printed_link(table),
            is_printed=True,
        )
