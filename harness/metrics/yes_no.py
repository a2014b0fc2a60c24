"""POPE's figures (Li et al., 2023): accuracy, precision, recall and F1 of "yes", and its share.

POPE reports its categories one by one, LLaVA's evaluation the mean of their F1. The official
reading of an answer is POPE's own: the first sentence decides, and whatever does not say "no" or
"not" in it says yes. So an answer that says neither counts as yes here; the share of answers that
our extractor cannot parse stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.core.types import Contributions, Metric, Prediction

_NO = frozenset({"No", "no", "not"})


def says_yes(raw: str) -> bool:
    """POPE's reading of an answer: not "No", "no" or "not" as a word of its first sentence."""
    first = raw.partition(".")[0].replace(",", "")
    return _NO.isdisjoint(first.split(" "))


def _counts(prediction: Prediction) -> tuple[float, float, float]:
    """Whether it is a hit (yes, rightly), a false alarm (yes, wrongly), a miss (no, wrongly)."""
    said, is_so = says_yes(prediction.raw), prediction.references[0].strip().lower() == "yes"
    return float(said and is_so), float(said and not is_so), float(is_so and not said)


def _right(prediction: Prediction) -> float:
    _, false_alarm, miss = _counts(prediction)
    return 1.0 - false_alarm - miss


def _yes(prediction: Prediction) -> float:
    return float(says_yes(prediction.raw))


def _f1(hit: Any, false_alarm: Any, miss: Any) -> Any:
    return 2 * hit / (2 * hit + false_alarm + miss)


def _precision(hit: Any, false_alarm: Any, miss: Any) -> Any:  # noqa: ARG001  # one signature
    return hit / (hit + false_alarm)


def _recall(hit: Any, false_alarm: Any, miss: Any) -> Any:  # noqa: ARG001
    return hit / (hit + miss)


def _by_category(predictions: Sequence[Prediction]) -> Contributions:
    """The counts of an answer in the columns of its category, and 0 in those of all others."""
    topics = sorted({p.topic for p in predictions})
    counts = np.zeros((len(predictions), len(topics), 3))
    for row, prediction in enumerate(predictions):
        counts[row, topics.index(prediction.topic)] = _counts(prediction)
    return Contributions({"yes_f1_mean": counts.reshape(len(predictions), -1)})


def _mean_f1(*means: Any) -> Any:
    """The mean of the categories' F1."""
    return np.mean([_f1(*means[at : at + 3]) for at in range(0, len(means), 3)], axis=0)


YES_F1 = Metric(
    "yes_f1",
    "F1 of yes",
    _counts,
    aggregate=_f1,
    meaning='F1 of "yes", by POPE\'s reading; official by category, over all it is not the mean of '
    "the categories",
)
YES_F1_MEAN = Metric(
    "yes_f1_mean",
    "Mean F1 of the categories",
    batch=_by_category,
    aggregate=_mean_f1,
    meaning='unweighted mean over the categories of F1 of "yes", by POPE\'s reading, as published '
    "scores state it",
    by_topic=False,
)
YES_PRECISION = Metric(
    "yes_precision",
    "Precision of yes",
    _counts,
    aggregate=_precision,
    meaning='of those answered "yes" the share where it is right, by POPE\'s reading',
)
YES_RECALL = Metric(
    "yes_recall",
    "Recall of yes",
    _counts,
    aggregate=_recall,
    meaning='of those where "yes" is right the share that is answered so, by POPE\'s reading',
)
YES_NO_ACCURACY = Metric(
    "yes_no_accuracy",
    "Yes/no accuracy",
    _right,
    interval="wilson",
    meaning="share of right answers, by POPE's reading",
)
YES_RATIO = Metric(
    "yes_ratio",
    "Share of yes",
    _yes,
    interval="wilson",
    meaning='share of answers that are "yes", by POPE\'s reading; half of the labels are',
)
