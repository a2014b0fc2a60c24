"""A model's thinking, which is no part of its answer. This module alone knows how it is marked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.core import structured
from harness.extract.aligned import Aligned, joined

_NAMES = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reflection|scratchpad|analysis)"
_OPENING = (
    rf"<{_NAMES}>|\[THINK(?:ING)?\]|\u25c1think\u25b7|<\|begin_of_thought\|>|<\|START_THINKING\|>"
    r"|<\|think(?:ing)?\|>|<\|channel\|>(?:analysis|commentary)<\|message\|>"
)
_CLOSING = (
    rf"</{_NAMES}>|\[/THINK(?:ING)?\]|\u25c1/think\u25b7|<\|end_of_thought\|>|<\|END_THINKING\|>"
    r"|<\|/think(?:ing)?\|>|<\|channel\|>final<\|message\|>"
)
_MARK = re.compile(
    rf"(?P<opens>(?P<stage><reasoning>)|{_OPENING})"
    rf"|(?P<closes>(?P<stage_end></reasoning>)|{_CLOSING})",
    re.IGNORECASE,
)
_SOLUTION = re.compile(r"<\|(?:begin|end)_of_solution\|>")

# Where a mark stands as a word of a sentence ("close it with </think> and go on"), it is none.
_IN_SENTENCE_BEFORE = re.compile(r"[\w,'\"`(] ?['\"`(]?\Z")
_IN_SENTENCE_AFTER = re.compile(r"['\"`)]?[ ,.;:!?]*[a-z0-9,.;:!?'\"`)]")


def without_thinking(text: Aligned) -> Aligned | None:
    """What a model says outside its thinking, or None where it never came to the end of it.

    Thinking runs from its opening mark to the next closing one; what stands before a closing mark
    that was never opened is thinking too (templates put the opening mark into the prompt).
    """
    kept: list[tuple[int, int]] = []
    done, thinks = 0, False
    for mark in _marks(text.text):
        if mark["opens"]:
            if not thinks:
                kept.append((done, mark.start()))
            thinks = True
        else:
            if not thinks:
                kept.clear()
            thinks = False
            done = mark.end()
    if thinks:
        return None
    if not done:
        return text
    pieces = (text[start:end] for start, end in [*kept, (done, len(text))])
    return joined([piece for piece in pieces if piece.text.strip()]).sub(_SOLUTION, " ")


def _marks(text: str) -> Iterator[re.Match[str]]:
    """The marks of thinking. A REASONING in capitals, or beside other tags of a structured answer,
    is a stage of that answer."""
    if not ("<" in text or "[" in text or "\u25c1" in text):
        return
    found = list(_MARK.finditer(text))
    staged = any(map(_stage, found)) and structured.has_stages(text)
    last_closing = max((mark.start() for mark in found if mark["closes"]), default=-1)
    for mark in found:
        if (stage := _stage(mark)) and (staged or stage.isupper()):
            continue
        if (mark["opens"] and mark.start() < last_closing) or not _is_quoted(text, mark):
            yield mark


def _stage(mark: re.Match[str]) -> str:
    return mark["stage"] or mark["stage_end"] or ""


def _is_quoted(text: str, mark: re.Match[str]) -> bool:
    """A mark is a word of a sentence."""
    before = text[max(0, mark.start() - 3) : mark.start()]
    return bool(
        before
        and (mark["opens"] or before[-1] == " ")
        and _IN_SENTENCE_BEFORE.search(before)
        and _IN_SENTENCE_AFTER.match(text, mark.end())
    )
