"""POPE's figures (Li et al., 2023): accuracy, precision, recall and F1 of "yes", and its share.

The official reading of an answer is POPE's own: the first sentence decides, and whatever does not
say "no" or "not" in it says yes. So an answer that says neither counts as yes here; the share of
answers that our extractor cannot parse stands beside it.
"""

from __future__ import annotations

from typing import Any

from harness.core.types import Metric, Prediction

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


YES_F1 = Metric(
    "yes_f1", "F1 of yes", _counts, aggregate=_f1, meaning='F1 of "yes", by POPE\'s reading'
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
