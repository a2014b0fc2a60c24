"""Check what the functions of a metric return: a user's own may return anything."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.types import Metric

Floats = NDArray[np.float64]


def rows_of_numbers(metric: Metric, column: Sequence[Any], ids: Sequence[str]) -> Floats:
    """What answers contribute, (n, K).

    Args:
        column: what the metric returned for each answer.
        ids: of the samples that they are answers to.

    Raises:
        HarnessError: they are no finite numbers, or not equally many for each.
    """
    if not len(column):
        return np.zeros((0, 1))
    values = _array(column)
    if _is_usual(values) and values.ndim <= 2:
        return values.astype(np.float64).reshape(len(column), -1)
    first = _array(column[0])
    for each, sample_id in zip(column, ids, strict=True):
        found = _array(each)
        if not _is_usual(found) or found.ndim > 1 or found.shape != first.shape:
            raise _refused(
                metric,
                metric.per_sample or metric.batch,
                f"gave {_short(each)} for the answer to {ascii(sample_id)[1:-1][:60]}; it must "
                "give a finite number, or as many numbers as for every other answer",
                known="None means that it does not score an answer.",
            )
    raise AssertionError("each is usual, and so are all")


def number(metric: Metric, function: Callable[..., Any] | None, value: Any) -> float:
    """The one number that `aggregate` or `per_group` made; it may be no finite one.

    Raises:
        HarnessError: it is no number.
    """
    found = _array(value)
    if found.dtype.kind in "biuf" and found.size == 1:
        return float(found.item())
    raise _refused(metric, function, f"made {_short(value)} of its numbers; it must make a number")


def shares(metric: Metric, values: Floats) -> None:
    """Raises HarnessError where a metric with the interval of a share gives other numbers."""
    outside = values[(values < 0) | (values > 1)]
    if len(outside):
        raise _refused(
            metric,
            metric.per_sample,
            f"gave {outside[0]:g}; interval='wilson' is for shares, of numbers from 0 to 1",
            known="interval='bootstrap' is for any numbers.",
        )


def _array(value: Any) -> NDArray[Any]:
    """As an array; an empty one where it cannot be."""
    try:
        return np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        return np.empty(0)


def _is_usual(value: NDArray[Any]) -> bool:
    return bool(value.dtype.kind in "biuf" and value.size and np.isfinite(value).all())


def _short(value: Any) -> str:
    return ascii(value)[:60]


def _refused(
    metric: Metric, function: Callable[..., Any] | None, what: str, *, known: str = ""
) -> HarnessError:
    return HarnessError(
        f"{_place(function)}the metric {metric.name} {what}.",
        known=known,
        remedy="What was answered is kept: mend the metric and give the same command again.",
    )


def _place(function: Callable[..., Any] | None) -> str:
    """The file and the line of a function, for the beginning of a sentence; "": it has none."""
    code = getattr(inspect.unwrap(function), "__code__", None) if function else None
    return f"{code.co_filename}, line {code.co_firstlineno}: " if code else ""
