"""The rationales of a distillation: how many were kept, why others were dropped, their quality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.core.types import Value
from reports.distillation.measures import DEPENDENCE, MEASURES, measure_cell
from reports.inputs import sanitize
from reports.inputs.material import Distillation
from reports.tables.table import Cell, Group, Heading, Row, Table, missing, table


def kept_by_topic(found: Distillation, *, name: str) -> Table | None:
    """Kept and dropped rationales by topic; None where nothing was counted. `name` prefixes ids."""
    topics = sanitize.mapping(sanitize.mapping(found.rationales.get("counts")).get("topics"))
    rows = []
    for topic, each in topics.items():
        counts = [sanitize.whole(sanitize.mapping(each).get(key)) for key in ("kept", "dropped")]
        rows.append(
            (
                -(counts[0] or 0),
                Row(
                    title=sanitize.text(topic, limit=60) or "no topic",
                    cells=tuple(
                        missing("the record holds no number here")
                        if count is None
                        else Cell(text=f"{count:,}", value=count)
                        for count in counts
                    ),
                ),
            )
        )
    if not rows:
        return None
    rows.sort(key=lambda pair: (pair[0], pair[1].title))
    return table(
        f"{name}-kept",
        "Rationales by topic",
        [Heading(key="kept", title="Kept"), Heading(key="dropped", title="Dropped")],
        groups=[Group(rows=tuple(row for _, row in rows))],
        row_title="Topic",
    )


def drop_reasons(found: Distillation) -> Iterable[tuple[str, int]]:
    """(reason, count) of dropped rationales, most frequent first, at most 20."""
    counts = sanitize.mapping(found.rationales.get("counts"))
    reasons = sanitize.mapping(counts.get("reasons"))
    known = [
        (sanitize.text(reason, limit=200), number)
        for reason, count in reasons.items()
        if (number := sanitize.whole(count))
    ]
    return sorted(known, key=lambda pair: (-pair[1], pair[0]))[:20]


def quality(found: Distillation, *, name: str) -> Table | None:
    """The measures of the teacher's rationales and of those that students wrote themselves."""
    columns: dict[str, Mapping[str, object]] = {}
    teacher = sanitize.mapping(sanitize.mapping(found.quality.get("teacher")).get("all"))
    if teacher:
        columns["Teacher's rationales"] = sanitize.mapping(teacher.get("measures"))
    for student, each in sanitize.mapping(found.quality.get("students")).items():
        measures = sanitize.mapping(sanitize.mapping(each).get("all")).get("measures")
        columns[f"Written by {sanitize.text(student, limit=60)}"] = sanitize.mapping(measures)
    depends = sanitize.mapping(sanitize.mapping(found.quality.get("dependence")).get("all"))
    if not columns:
        return None
    rows = []
    for key, title, meaning, scale in (*MEASURES, *DEPENDENCE):
        cells = []
        for place, measures in enumerate(columns.values()):
            if (key, title, meaning, scale) in DEPENDENCE:
                taught = place == 0 and bool(teacher)
                known = depends if taught else {}
                reason = (
                    "not measured: --image-dependence does"
                    if taught
                    else "measured on what is taught only"
                )
                cells.append(
                    measure_cell(_value(known.get(key)), scale) if key in known else missing(reason)
                )
            else:
                cells.append(measure_cell(_value(measures.get(key)), scale))
        unit = " (%)" if scale == 100 else ""
        rows.append(Row(title=f"{title}{unit}", origin=meaning, cells=tuple(cells)))
    return table(
        f"{name}-quality",
        "Quality of the rationales, each measure over those that it applies to (n)",
        [Heading(key=f"column{n}", title=title) for n, title in enumerate(columns)],
        groups=[Group(rows=tuple(rows))],
        row_title="Measure",
    )


def _value(figure: object) -> Value:
    """A figure of quality.json, whatever it holds."""
    found = sanitize.mapping(figure)
    return Value(
        value=sanitize.number(found.get("value")),
        n=sanitize.whole(found.get("n")) or 0,
        low=sanitize.number(found.get("low")),
        high=sanitize.number(found.get("high")),
        note=sanitize.text(found.get("note"), limit=200),
    )
