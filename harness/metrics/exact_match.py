"""Exact match of short answers, as GQA (Hudson and Manning, 2019) and RealWorldQA are scored."""

from __future__ import annotations

from harness.core.types import Metric, Prediction


def normalize(text: str) -> str:
    """In lower case, without white space at the ends and without a closing full stop."""
    return text.strip().lower().removesuffix(".").strip()


def matches(prediction: Prediction) -> bool:
    """Whether the answer, which is there, is an accepted one."""
    given = normalize(prediction.text)
    return any(given == normalize(each) for each in prediction.references)


def _score(prediction: Prediction) -> float:
    return float(prediction.answer is not None and matches(prediction))


EXACT_MATCH = Metric(
    "exact_match",
    "Exact match",
    _score,
    interval="wilson",
    meaning="equal to an accepted answer, without regard to case and a closing full stop",
)
