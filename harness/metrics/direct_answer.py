"""The direct-answer score of A-OKVQA (Schwenk et al., 2022)."""

from __future__ import annotations

from harness.core.types import Metric, Prediction


def _score(prediction: Prediction) -> float:
    """min(1, matches / 3) with exact strings: nothing is normalised, no reference is left out."""
    if prediction.answer is None:
        return 0.0
    return min(1.0, prediction.references.count(prediction.text) / 3)


DIRECT_ANSWER = Metric(
    "direct_answer",
    "Direct answer",
    _score,
    meaning="min(1, matches / 3) among ten human answers, exact strings",
)
