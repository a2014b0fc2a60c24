"""Exact match of answers that may be letters of options in the question's text, as RealWorldQA's
are."""

from __future__ import annotations

from string import ascii_uppercase

from harness.core.types import Metric, Prediction
from harness.extract import extract_choice
from harness.extract.listed import listed_options
from harness.metrics.exact_match import matches

_FEWEST = 4
"""Options that are assumed where the question does not list them."""


def _score(prediction: Prediction) -> float:
    """1 where the extracted option is the right one; of other questions the exact match."""
    target = prediction.references[0].strip().rstrip(".")
    if len(target) != 1 or target not in ascii_uppercase:
        return float(prediction.answer is not None and matches(prediction))
    place = ascii_uppercase.index(target)
    options = listed_options(prediction.question)
    if place >= len(options):
        options = tuple(ascii_uppercase[: max(place + 1, _FEWEST)])
    return float(extract_choice(prediction.raw, options).answer == place)


LETTER_MATCH = Metric(
    "letter_match",
    "Match of extracted letters",
    _score,
    interval="wilson",
    meaning="where the accepted answer is a letter, the option that our extractor finds; else the "
    "exact match; not the official figure",
)
