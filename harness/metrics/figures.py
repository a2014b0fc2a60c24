"""From metrics and predictions to figures: each with its n and its 95% interval, overall and by
topic, and what each answer was given.

Samples that failed are in no figure (the run counts them). Unparsed answers are in every one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.types import Contributions, Metric, Prediction, RunMetric, Value
from harness.metrics.accuracy import ACCURACY, CHANCE
from harness.metrics.checked import number, rows_of_numbers, shares
from harness.metrics.clusters import groups
from harness.metrics.registry import CONTEXT
from harness.metrics.statistics import (
    RESAMPLES,
    Z_95,
    bootstrap,
    clustered_standard_error,
    percentile_interval,
    wilson,
)
from harness.metrics.unparsed import UNPARSED

Floats = NDArray[np.float64]

_NO_ANSWERS = "not computed: no answers"
NO_KEY = "not computed: the answers of this split are not public"
_UNDEFINED = "not computed: undefined for these answers"


@dataclass(frozen=True, slots=True)
class Figures:
    """What metrics make of a run."""

    values: dict[str, Value]
    """By name; by topic as <name>/<topic>, from the most frequent topic to the rarest."""
    predictions: list[Prediction]
    """The given ones with the scores that they got."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What the answers that a metric scores contribute to it."""

    values: Floats
    """(n, K)."""
    of: NDArray[np.int64]
    """The prediction that each row is of, its first one where it is a group's, (n,)."""
    clusters: NDArray[np.int64] | None
    """Equal numbers: not independent, (n,); None: all are."""
    note: str = ""
    caveat: str = ""


def figures(predictions: Sequence[Prediction], metrics: Iterable[Metric | RunMetric]) -> Figures:
    """The figures of all metrics, with what every run has beside them: chance, where options were
    chosen, and the share of unparsed answers."""
    described, own = _sorted_out(metrics)
    answered = [p for p in predictions if p.error is None]
    rows = contributions(answered, described)
    values = dict(_overall(described, rows))
    for topic, members in _topics(answered).items():
        by_topic = [m for m in described if m.by_topic and rows[m.name].note != NO_KEY]
        inside = {metric.name: _only(rows[metric.name], members) for metric in by_topic}
        for name, value in _overall(by_topic, inside):
            values[f"{name}/{topic}"] = value
    if any(p.target is not None for p in answered) or not answered:
        for metric in own:
            values |= metric([p for p in predictions if p.target is not None])
    return Figures(_context_last(values), _with_scores(predictions, described, rows))


def with_scores(
    predictions: Sequence[Prediction], metrics: Iterable[Metric | RunMetric]
) -> list[Prediction]:
    """Predictions with what all these metrics give them one by one."""
    described = _sorted_out(metrics)[0]
    answered = [p for p in predictions if p.error is None]
    return _with_scores(predictions, described, contributions(answered, described))


def score_each(
    predictions: Sequence[Prediction], metrics: Iterable[Metric | RunMetric]
) -> list[Prediction]:
    """Predictions with what metrics give them one by one; metrics that are computed for many at
    once are left for `figures`, as is a metric that fails."""
    made = list(predictions)
    for metric in _sorted_out(metrics)[0]:
        if metric.per_sample is not None and _is_kept(metric):
            with contextlib.suppress(HarnessError):  # `figures` raises it, when all is answered
                rows = contributions([p for p in made if p.error is None], [metric])
                made = _with_scores(made, [metric], rows)
    return made


def contributions(answered: Sequence[Prediction], metrics: Sequence[Metric]) -> dict[str, Rows]:
    """What answers contribute, by metric; a metric that could not be computed has no rows and a
    note. Answers whose right one is not public are in the context figures alone."""
    found: dict[str, Rows] = {}
    batches: dict[Any, Contributions] = {}
    same_group = groups(answered)
    ids = [p.sample_id for p in answered]
    keyed = [place for place, p in enumerate(answered) if p.target is not None]
    for metric in metrics:
        places = range(len(answered)) if metric.name in CONTEXT else keyed
        scored = [answered[place] for place in places]
        made = Contributions({})
        if metric.per_sample is not None:
            made = Contributions({metric.name: [metric.per_sample(p) for p in scored]})
        elif metric.batch is not None and scored:
            if metric.batch not in batches:
                batches[metric.batch] = metric.batch(scored)
            made = batches[metric.batch]
        column: list[Any] = [None] * len(answered)
        for place, each in zip(places, made.columns.get(metric.name, ()), strict=False):
            column[place] = each
        rows = _rows(metric, column, ids, same_group)
        found[metric.name] = replace(
            rows,
            note=made.notes.get(metric.name, "") if scored or not answered else NO_KEY,
            caveat=made.caveats.get(metric.name, ""),
        )
    return found


def aggregate(metric: Metric, means: Floats) -> Floats:
    """The figure of the means of contributions, (..., K) -> (...)."""
    if metric.aggregate is None:
        return means[..., 0]
    with np.errstate(all="ignore"):
        try:
            made = np.asarray(metric.aggregate(*np.moveaxis(means, -1, 0)))
            if made.shape == means.shape[:-1] and made.dtype.kind in "biuf":
                return made.astype(np.float64)
        except (TypeError, ValueError, AttributeError, ZeroDivisionError, HarnessError):
            pass  # it takes plain numbers only
    flat = [_plain(metric, row.tolist()) for row in means.reshape(-1, means.shape[-1])]
    return np.array(flat).reshape(means.shape[:-1])


def described_by(metrics: Iterable[Metric | RunMetric]) -> list[Metric]:
    """The metrics that have a description, chance and unparsed included, in their order."""
    return _sorted_out(metrics)[0]


def _sorted_out(
    metrics: Iterable[Metric | RunMetric],
) -> tuple[list[Metric], list[RunMetric]]:
    """Metrics and functions; a function that stands for metrics is replaced by them."""
    described: dict[str, Metric] = {}
    own: list[RunMetric] = []
    for metric in metrics:
        for each in getattr(metric, "metrics", (metric,)):
            if isinstance(each, Metric):
                described[each.name] = each
            else:
                own.append(each)
    if ACCURACY.name in described:
        described.setdefault(CHANCE.name, CHANCE)
    described.setdefault(UNPARSED.name, UNPARSED)
    return list(described.values()), own


def _context_last(values: Mapping[str, Value]) -> dict[str, Value]:
    last = {name: values[name] for name in sorted(CONTEXT) if name in values}
    return {**{name: v for name, v in values.items() if name not in CONTEXT}, **last}


def _rows(
    metric: Metric, column: Sequence[Any], ids: Sequence[str], same_group: Sequence[int] | None
) -> Rows:
    kept = [i for i, each in enumerate(column) if each is not None]
    values = rows_of_numbers(metric, [column[i] for i in kept], [ids[i] for i in kept])
    if metric.interval == "wilson":
        shares(metric, values)
    of = np.array(kept, dtype=np.int64)
    if same_group is None or not kept:
        return Rows(values, of, None)
    numbers = np.array(same_group, dtype=np.int64)[of]
    if metric.per_group is None:
        return Rows(values, of, numbers)
    _, first, member = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    members = (values[member == group, 0].tolist() for group in order)
    reduced = [number(metric, metric.per_group, metric.per_group(each)) for each in members]
    return Rows(np.array(reduced)[:, None], of[first[order]], None)


def _only(rows: Rows, members: Sequence[int]) -> Rows:
    """The rows of some predictions."""
    inside = np.isin(rows.of, np.array(members, dtype=np.int64))
    clusters = rows.clusters
    return Rows(
        values=rows.values[inside],
        of=rows.of[inside],
        clusters=None if clusters is None else clusters[inside],
    )


def _overall(metrics: Sequence[Metric], rows: Mapping[str, Rows]) -> Iterator[tuple[str, Value]]:
    """Each metric's figure. Metrics over the same rows are resampled together."""
    resampled: dict[bytes, list[Metric]] = {}
    for metric in metrics:
        if metric.interval == "bootstrap" and len(rows[metric.name].of):
            resampled.setdefault(rows[metric.name].of.tobytes(), []).append(metric)
    drawn = {
        metric.name: column
        for together in resampled.values()
        for metric, column in zip(together, _resampled(together, rows), strict=True)
    }
    for metric in metrics:
        yield metric.name, _value(metric, rows[metric.name], drawn.get(metric.name))


def _resampled(metrics: Sequence[Metric], rows: Mapping[str, Rows]) -> Floats:
    """Bootstrapped figures, (metrics, R)."""
    first = rows[metrics[0].name]
    columns = np.concatenate([rows[m.name].values for m in metrics], axis=1)
    ends = np.cumsum([rows[m.name].values.shape[1] for m in metrics])

    def score(means: Floats) -> Floats:
        parts = np.split(means, ends[:-1], axis=-1)
        return np.stack([aggregate(m, p) for m, p in zip(metrics, parts, strict=True)], axis=-1)

    clusters = None if first.clusters is None else first.clusters.tolist()
    return bootstrap(columns, score, clusters).T


def _value(metric: Metric, rows: Rows, drawn: Floats | None) -> Value:
    n = len(rows.of)
    if not n:
        why = rows.note if rows.note.startswith("not computed") else _NO_ANSWERS
        return Value(value=None, n=0, note=_no_choices(metric, why))
    # A running sum: numpy adds one column in another order than several, to another last digit.
    point = float(aggregate(metric, rows.values.cumsum(axis=0)[-1] / n))
    if not math.isfinite(point):
        return Value(value=None, n=n, note=_UNDEFINED)
    low, high, about = _interval(metric, rows, drawn)
    note = "; ".join(each for each in (about, rows.note, rows.caveat) if each)
    return Value(value=point, n=n, low=low, high=high, note=note, caveat=rows.caveat)


def _no_choices(metric: Metric, why: str) -> str:
    return "not computed: no choices" if metric.name == CHANCE.name else why


def _interval(
    metric: Metric, rows: Rows, drawn: Floats | None
) -> tuple[float | None, float | None, str]:
    """The two ends, and how they were made."""
    n = len(rows.of)
    if metric.interval == "none":
        return None, None, metric.meaning
    over = "pairs" if rows.clusters is None else "groups"
    if metric.interval == "bootstrap":
        finite = drawn[np.isfinite(drawn)] if drawn is not None else np.zeros(0)
        interval = percentile_interval(finite) if len(finite) else None
        if interval is None:
            return None, None, "no interval: all resamples agree"
        about = f"95% percentile bootstrap over {over}, {RESAMPLES} resamples, seed 0"
        return interval.low, interval.high, about
    column = rows.values[:, 0]
    low, high = wilson(round(float(column.sum())), n)
    if rows.clusters is not None and len(np.unique(rows.clusters)) > 1:
        half = Z_95 * clustered_standard_error(column, rows.clusters.tolist())
        mean = float(column.mean())
        if 2 * half > high - low:
            return max(0.0, mean - half), min(1.0, mean + half), "95% interval, clustered by group"
    return low, high, "95% Wilson interval"


def _plain(metric: Metric, means: list[float]) -> float:
    assert metric.aggregate is not None
    try:
        made = metric.aggregate(*means)
    except ZeroDivisionError:
        return math.nan
    return number(metric, metric.aggregate, made)


def _is_kept(metric: Metric) -> bool:
    """Whether what it gives an answer is a score of that answer."""
    alone = metric.aggregate is None and metric.per_group is None
    return alone and metric.name not in CONTEXT


def _with_scores(
    predictions: Sequence[Prediction], metrics: Sequence[Metric], rows: Mapping[str, Rows]
) -> list[Prediction]:
    places = [i for i, p in enumerate(predictions) if p.error is None]
    found: list[dict[str, float]] = [dict(p.scores) for p in predictions]
    for metric in filter(_is_kept, metrics):
        for i in places:
            found[i].pop(metric.name, None)
        made = rows[metric.name]
        for row, score in zip(made.of.tolist(), made.values[:, 0].tolist(), strict=True):
            found[places[row]][metric.name] = score
    return [
        p if p.scores == scores else replace(p, scores=scores)
        for p, scores in zip(predictions, found, strict=True)
    ]


def _topics(predictions: Sequence[Prediction]) -> dict[str, list[int]]:
    """The rows of each topic, from the most frequent to the rarest, then by name. Samples without a
    topic are in none."""
    rows: dict[str, list[int]] = {}
    for row, prediction in enumerate(predictions):
        if prediction.topic:
            rows.setdefault(prediction.topic, []).append(row)
    return dict(sorted(rows.items(), key=lambda item: (-len(item[1]), item[0])))
