"""The share of answers that no rule can parse: every run has it beside its scores."""

from __future__ import annotations

from harness.core.types import Metric, Prediction


def _is_unparsed(prediction: Prediction) -> float:
    return float(prediction.answer is None)


UNPARSED = Metric(
    "unparsed",
    "Unparsed",
    _is_unparsed,
    higher_is_better=False,
    interval="wilson",
    meaning="answers that no rule can parse; they count as wrong",
    by_topic=False,
)
