"""The verdict on an answer, by each extractor."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from harness.core.types import Answer, Extraction, Prediction
from harness.run.shuffling import extract_answer

MAX_RAW = 20_000
"""Bytes that are shown of a text."""

RIGHT, WRONG, UNPARSED, FAILED, ANSWERED, ABSENT = "rwufa-"
"""One character a question: `wrong` is an extracted answer that is not the right one, `answered`
one that is neither, because it is graded or has no score, `absent` a question that the run was not
asked."""

RECORDED = "ours"
OTHERS = ("paper-base", "paper-kd")
"""Extractors whose verdicts the page has in addition to the recorded ones: the paper's two."""


def extract_by(extractor: Callable[[str, Sequence[str]], Extraction], p: Prediction) -> Extraction:
    """What an extractor finds in the raw text of `p`, its options in their first order."""
    if not p.choices or p.error is not None:
        return Extraction(p.answer, p.rule)
    return extract_answer(extractor, p.raw, p.choices, p.order)


def verdict_of(p: Prediction, answer: Answer | None, score: float | None = None) -> str:
    """The character for `answer` in place of the recorded one.

    Args:
        score: what the recorded answer got, 1 or 0; None: options alone are right or wrong.
    """
    if p.error is not None:
        return FAILED
    if answer is None:
        return UNPARSED
    if score is not None:
        return RIGHT if score else WRONG
    if not p.choices or p.target is None:
        return ANSWERED
    return RIGHT if answer == p.target else WRONG


def compact_json(value: object) -> str:
    """JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
