"""Accuracy of multiple choice, and what guessing gives."""

from __future__ import annotations

from harness.core.types import Metric, Prediction
from harness.data.answers import UNLISTED


def _right(prediction: Prediction) -> float:
    """1 where the answer is the target; an unparsed answer is wrong."""
    return float(prediction.answer is not None and prediction.answer == prediction.target)


def _guess(prediction: Prediction) -> float | None:
    known = prediction.choices and UNLISTED not in prediction.metadata
    return 1 / len(prediction.choices) if known else None


ACCURACY = Metric(
    "accuracy",
    "Accuracy",
    _right,
    interval="wilson",
    meaning="share of questions whose right option was chosen; unparsed answers are wrong",
)
CHANCE = Metric(
    "chance",
    "Chance",
    _guess,
    interval="none",
    meaning="mean of 1 / number of choices",
    by_topic=False,
)
