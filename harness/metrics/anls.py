"""ANLS, the average normalised Levenshtein similarity of DocVQA (Biten et al., 2019)."""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein

from harness.core.types import Metric, Prediction

THRESHOLD = 0.5
"""Similarities below it count as 0. At exactly 0.5 the reference code keeps the similarity, the
paper (whose distance must be strictly below 0.5) does not: here as in the code."""


def anls(answer: str, references: tuple[str, ...]) -> float:
    """Max over the references of 1 - distance / max(length), 0 where that is below 0.5; in lower
    case, without white space at the ends, inner white space as one space."""
    given = " ".join(answer.lower().split())
    return max(_similarity(given, " ".join(each.lower().split())) for each in references)


def _similarity(answer: str, reference: str) -> float:
    similarity = 1 - Levenshtein.normalized_distance(answer, reference)
    return similarity if similarity >= THRESHOLD else 0.0


def _score(prediction: Prediction) -> float:
    return 0.0 if prediction.answer is None else anls(prediction.text, prediction.references)


ANLS = Metric(
    "anls",
    "ANLS",
    _score,
    meaning="normalised Levenshtein similarity to the nearest reference, 0 below 0.5 (at exactly "
    "0.5 kept, as the reference code does)",
)
