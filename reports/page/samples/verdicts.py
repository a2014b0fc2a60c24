"""An answer on the page: its verdict by each extractor, and its row."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from harness.core.finish import is_cut
from harness.core.types import Answer, Extraction, Prediction
from harness.run.shuffling import extract_answer
from reports.inputs import sanitize

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


def answer_row(p: Prediction, others: list[list[Any]], scores: Sequence[float | None]) -> list[Any]:
    """An answer; the script takes it apart by place."""
    raw, span = sanitize.marked_passage(p.raw, p.span, limit=MAX_RAW)
    return [
        raw,
        sanitize.passage(p.answer, limit=MAX_RAW) if isinstance(p.answer, str) else p.answer,
        sanitize.text(p.rule),
        sanitize.passage(p.prompt, limit=MAX_RAW),
        None if p.error is None else sanitize.text(p.error, limit=1000),
        _rounded(p.seconds),
        _rounded(p.preprocess_seconds),
        sanitize.whole(p.tokens),
        sanitize.whole(p.tokens_in),
        list(p.order),
        [_rounded(score) for score in p.log_likelihoods],
        others,
        span,
        is_cut(p.finish),
        [_rounded(score) for score in scores],
    ]


def _rounded(value: object) -> float | None:
    """To four significant digits."""
    found = sanitize.number(value)
    return None if found is None else float(f"{found:.4g}")


def compact_json(value: object) -> str:
    """JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
