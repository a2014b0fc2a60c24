"""OCRBench's score (Liu et al., 2024): an accepted answer is contained in the output."""

from __future__ import annotations

from harness.core.types import Metric, Prediction

EXACT_CASE = "exact_case"
"""A sample whose `metadata` has it true is compared with its case and without any spaces: the
handwritten formulas of HME100k."""


def contains(answer: str, references: tuple[str, ...], *, exact_case: bool = False) -> bool:
    """Whether any reference is a part of the answer: both in lower case, with line breaks as
    spaces and none at the ends; or, with `exact_case`, as they are, without spaces and breaks."""
    spell = _joined if exact_case else _folded
    given = spell(answer)
    return any(spell(reference) in given for reference in references)


def _folded(text: str) -> str:
    return text.lower().strip().replace("\n", " ")


def _joined(text: str) -> str:
    return text.strip().replace("\n", " ").replace(" ", "")


def _score(prediction: Prediction) -> float:
    if prediction.answer is None:
        return 0.0
    exact = bool(prediction.metadata.get(EXACT_CASE))
    return float(contains(prediction.text, prediction.references, exact_case=exact))


CONTAINS = Metric(
    "contains",
    "Contains",
    _score,
    interval="wilson",
    meaning="share of answers that contain an accepted answer, without regard to case",
)
