"""A model's thinking, which is no part of its answer. This module alone knows how it is marked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from harness import structured
from harness.reading.aligned import Aligned, joined

_NAMES = r"(?:seed:)?(?:think|thinking|thoughts?|reasoning|reflection|scratchpad|analysis)"
_OPENING = (
    rf"<{_NAMES}>|\[THINK(?:ING)?\]|\u25c1think\u25b7|<\|begin_of_thought\|>|<\|START_THINKING\|>"
    r"|<\|think(?:ing)?\|>|<\|channel\|>(?:analysis|commentary)<\|message\|>"
)
_CLOSING = (
    rf"</{_NAMES}>|\[/THINK(?:ING)?\]|\u25c1/think\u25b7|<\|end_of_thought\|>|<\|END_THINKING\|>"
    r"|<\|/think(?:ing)?\|>|<\|channel\|>final<\|message\|>"
)
_MARK = re.compile(rf"(?P<opens>{_OPENING})|(?P<closes>{_CLOSING})", re.IGNORECASE)
_SOLUTION = re.compile(r"<\|(?:begin|end)_of_solution\|>")
_STAGE = re.compile(r"</?reasoning>", re.IGNORECASE)

# Where a mark stands as a word of a sentence ("close it with </think> and go on"), it is none.
_IN_SENTENCE_BEFORE = re.compile(r"[\w,'\"`(] ?['\"`(]?\Z")
_IN_SENTENCE_AFTER = re.compile(r"['\"`)]?[ ,.;:!?]*[a-z0-9,.;:!?'\"`)]")


class _Mark(NamedTuple):
    start: int
    end: int
    opens: bool


def without_thinking(text: Aligned) -> Aligned | None:
    """What a model says outside its thinking, or None where it never came to the end of it.

    Thinking runs from its opening mark to the next closing one; what stands before a closing mark
    that was never opened is thinking too (templates put the opening mark into the prompt).
    """
    marks = list(_marks(text.text))
    if not marks:
        return text
    kept: list[Aligned] = []
    done, thinks = 0, False
    for mark in marks:
        if mark.opens:
            if not thinks:
                kept.append(text[done : mark.start])
            thinks = True
        else:
            if not thinks:
                kept.clear()
            thinks = False
            done = mark.end
    if thinks:
        return None
    return joined([piece for piece in [*kept, text[done:]] if piece.text.strip()]).sub(
        _SOLUTION, " "
    )


def _marks(text: str) -> Iterator[_Mark]:
    """The marks of thinking. A REASONING in capitals, or beside other tags of a structured answer,
    is a stage of that answer."""
    if not ("<" in text or "[" in text or "\u25c1" in text):
        return
    found = list(_MARK.finditer(text))
    staged = any(_STAGE.fullmatch(mark[0]) for mark in found) and structured.has_stages(text)
    last_closing = max((mark.start() for mark in found if mark["closes"]), default=-1)
    for mark in found:
        if _STAGE.fullmatch(mark[0]) and (staged or mark[0].isupper()):
            continue
        before, after = text[max(0, mark.start() - 3) : mark.start()], text[mark.end() :][:4]
        quoted = _IN_SENTENCE_BEFORE.search(before) and _IN_SENTENCE_AFTER.match(after)
        if mark["opens"] and (mark.start() < last_closing or not quoted):
            yield _Mark(mark.start(), mark.end(), opens=True)
        elif mark["closes"] and not (quoted and before[-1:] == " "):
            yield _Mark(mark.start(), mark.end(), opens=False)
