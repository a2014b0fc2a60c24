"""Relaxed accuracy of ChartQA (Masry et al., 2022): numbers may be off by 5%."""

from __future__ import annotations

from harness.core.types import Metric, Prediction

TOLERANCE = 0.05
"""Of the target."""


def is_close(answer: str, target: str) -> bool:
    """Whether an answer counts: numbers within 5% of the target, a % sign dividing by 100; any
    other text, and a target of 0, by equality without regard to case.

    Nothing is stripped, as in the reference code: "25." and "1,000" are no numbers.
    """
    given, wanted = _number(answer), _number(target)
    if given is None or not wanted:
        return answer.lower() == target.lower()
    return abs(given - wanted) / abs(wanted) <= TOLERANCE


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def _lenient(text: str) -> str:
    """Without a closing full stop, thousands separators and a currency sign."""
    return text.strip().removesuffix(".").replace(",", "").removeprefix("$").strip()


def _score(prediction: Prediction) -> float:
    if prediction.answer is None:
        return 0.0
    return float(any(is_close(prediction.text, each) for each in prediction.references))


def _lenient_score(prediction: Prediction) -> float:
    if prediction.answer is None:
        return 0.0
    given = _lenient(prediction.text)
    return float(any(is_close(given, _lenient(each)) for each in prediction.references))


RELAXED_ACCURACY = Metric(
    "relaxed_accuracy",
    "Relaxed accuracy",
    _score,
    interval="wilson",
    meaning="numbers within 5% of the target, anything else equal without regard to case; nothing "
    "is stripped",
)
RELAXED_LENIENT = Metric(
    "relaxed_lenient",
    "Relaxed accuracy (lenient)",
    _lenient_score,
    interval="wilson",
    meaning="relaxed accuracy after closing full stops, thousands separators and currency signs "
    "are taken off; not the official figure",
)
