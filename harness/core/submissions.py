"""What stands in the fields of a file for an evaluation server."""

from __future__ import annotations

import re
from string import ascii_uppercase

from harness.core.types import Prediction

NO_LETTER = "Z"
"""In the place of a letter that is missing: an option that no question has."""


def number(prediction: Prediction) -> str | int:
    """The question's id, a number where it is one."""
    found = prediction.sample_id
    return int(found) if re.fullmatch("0|[1-9][0-9]{,17}", found) else found


def text(prediction: Prediction) -> str:
    """The answer in words; "" where it is unparsed or missing."""
    return prediction.text


def letter(prediction: Prediction) -> str:
    """The letter of the option that was chosen."""
    chosen = prediction.answer
    return ascii_uppercase[chosen] if isinstance(chosen, int) else NO_LETTER


def letter_or_text(prediction: Prediction) -> str:
    """The letter of the option that was chosen, or the answer in words to an open question; ""
    where there is none."""
    return letter(prediction) if isinstance(prediction.answer, int) else prediction.text


def question(prediction: Prediction) -> str:
    """The question."""
    return prediction.question


def option(prediction: Prediction, *, place: int) -> str:
    """The option at a place, from 0; "" where there is none."""
    return prediction.choices[place] if place < len(prediction.choices) else ""
