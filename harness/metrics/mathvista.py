"""MathVista's accuracy (Lu et al., 2024): the official comparison of an answer that is extracted by
rule. Officially a language model extracts it.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence

from rapidfuzz.distance import Levenshtein

from harness.core.types import Metric, Prediction

PRECISION, ANSWER_TYPE = "precision", "answer_type"
"""Metadata of a sample: the decimals that are compared; and integer, float, list or text."""
_MOST_DECIMALS = 12
_ALIKE = 0.5
"""Similarity, 1 - edits / longest length, from which an option is taken for what a text means:
below it the official evaluation takes the nearest one too, which is a guess."""


def nearest_option(text: str, choices: Sequence[str]) -> int | None:
    """The option with the fewest edits to a text; None where it is not half alike, and where two
    are as near."""
    text = text.strip()
    edits = [Levenshtein.distance(text, choice) for choice in choices]
    place = edits.index(min(edits))
    if {choices[other] for other, each in enumerate(edits) if each == min(edits)} != {
        choices[place]
    }:
        return None
    return place if Levenshtein.normalized_similarity(text, choices[place]) >= _ALIKE else None


def values_match(answer: str, target: str, metadata: Mapping[str, str | float]) -> bool:
    """Whether a value is the target: whole numbers, numbers rounded to the precision, lists, or
    texts without regard to case."""
    kind = metadata.get(ANSWER_TYPE) or _kind(target)
    if kind == "list":
        wanted = _listed(target)
        return wanted is not None and _listed(answer) == wanted
    given, number = _number(answer), _number(target)
    if kind == "integer" and number is not None:
        return given is not None and int(given) == int(number)
    if kind == "float" and number is not None:
        decimals = metadata.get(PRECISION)
        known = isinstance(decimals, int | float) and 0 <= decimals <= _MOST_DECIMALS
        digits = int(decimals) if known else _decimals(target)  # type: ignore[arg-type]
        return given is not None and math.isclose(
            round(given, digits), round(number, digits), abs_tol=10.0 ** -(digits + 3)
        )
    return answer.strip().rstrip(".").lower() == target.strip().rstrip(".").lower()


def _kind(target: str) -> str:
    """The type of an answer where the data do not say it."""
    if target.strip().startswith("["):
        return "list"
    number = _number(target)
    if number is None:
        return "text"
    return "float" if "." in target else "integer"


def _number(text: str) -> float | None:
    try:
        found = float(text.strip().strip("$%").replace(",", ""))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _decimals(target: str) -> int:
    return min(len(target.strip().strip("$%").partition(".")[2]), _MOST_DECIMALS)


def _listed(text: str) -> list[object] | None:
    try:
        made = ast.literal_eval(text.strip())  # constants alone: nothing is run
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return list(made) if isinstance(made, list | tuple) else None


def _by_rule(prediction: Prediction) -> float:
    if prediction.answer is None and prediction.choices and not prediction.log_likelihoods:
        place = nearest_option(prediction.raw, prediction.choices)
        return float(place is not None and _same_option(prediction, place))
    return _extracted(prediction)


def _extracted(prediction: Prediction) -> float:
    if prediction.answer is None:
        return 0.0
    if isinstance(prediction.answer, int):
        return float(_same_option(prediction, prediction.answer))
    return float(
        any(
            values_match(prediction.text, each, prediction.metadata)
            for each in prediction.references
        )
    )


def _same_option(prediction: Prediction, place: int) -> bool:
    """Some questions have an option twice."""
    assert isinstance(prediction.target, int)
    return prediction.choices[place] == prediction.choices[prediction.target]


MATHVISTA_ACCURACY = Metric(
    "mathvista_accuracy",
    "MathVista accuracy (by rule)",
    _by_rule,
    interval="wilson",
    meaning="answers extracted by rule, not by the judge; then the official comparison: the "
    "nearest option if it is half alike, whole numbers, numbers rounded to the question's "
    "precision, lists",
)
MATHVISTA_EXTRACTED = Metric(
    "mathvista_extracted",
    "MathVista accuracy by our extractor",
    _extracted,
    interval="wilson",
    meaning="the same, but a text that names no option is wrong and never the nearest one; not the "
    "official figure",
)
