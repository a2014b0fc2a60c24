"""Exact match of short answers, as GQA (Hudson and Manning, 2019) and RealWorldQA are scored."""

from __future__ import annotations

from harness.core.types import Metric, Prediction


def normalize(text: str) -> str:
    """In lower case, without white space at the ends and without a closing full stop."""
    return text.strip().lower().removesuffix(".").strip()


def _score(prediction: Prediction) -> float:
    if prediction.answer is None:
        return 0.0
    given = normalize(prediction.text)
    return float(any(given == normalize(each) for each in prediction.references))


EXACT_MATCH = Metric(
    "exact_match",
    "Exact match",
    _score,
    interval="wilson",
    meaning="equal to an accepted answer, without regard to case and a closing full stop",
)
