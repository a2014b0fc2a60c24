"""Figures in words, by the title and the unit that a record has for them."""

from __future__ import annotations

from collections.abc import Iterator

from harness.core.terminal import MISSING
from harness.metrics.registry import CONTEXT
from harness.run.records import RunRecord


def figure(record: RunRecord, metric: str) -> str:
    """A fraction as a percentage, or the number itself; an em dash where there is none."""
    value = record.metrics[metric].value
    if value is None:
        return MISSING
    return f"{100 * value:.2f}%" if record.about(metric).unit == "%" else f"{value:.4f}"


def interval(record: RunRecord, metric: str) -> str:
    """The 95% interval; an em dash where there is none."""
    low, high = record.metrics[metric].low, record.metrics[metric].high
    if low is None or high is None:
        return MISSING
    if record.about(metric).unit == "%":
        return f"{100 * low:.1f} to {100 * high:.1f}"
    return f"{low:.4f} to {high:.4f}"


def title(record: RunRecord, metric: str) -> str:
    """What a metric is called, and whether less of it is better."""
    about = record.about(metric)
    is_worse = not about.higher_is_better and metric not in CONTEXT
    return f"{about.title}, lower is better" if is_worse else about.title


def by_topic(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Each figure and its topic: of a metric that over all questions, "" as its topic, then those
    of its topics. The metric that decides comes first."""
    names = [*record.metric_info, *(name.partition("/")[0] for name in record.metrics)]
    for metric in dict.fromkeys(names):
        for name in record.metrics:
            root, _, topic = name.partition("/")
            if root == metric:
                yield name, topic
