"""Whether a text comes to its end, or stops where the token limit fell: in mid-sentence, in
mid-formula, in the next item of a list, or in a cycle."""

from __future__ import annotations

import re

_TAIL = 4_000
"""Characters at the end of a text that are looked at."""
_CYCLES = 3
"""A tail that repeats itself so often is a cycle."""
_CYCLE_CHARS = 24

_CLOSED = re.compile(r"[.!?\u3002\uff01\uff1f\u2026\u0964][\"'\u201d\u2019)\]*_`$}|\s]*\Z")
_OPERATOR = re.compile(r"(?:[-=+*/^_<>\u2248\u2264\u2265\u00d7\u00b7\u2212,;:&\\(\[{]|\u2192)\s*\Z")
_CONNECTIVE = re.compile(
    r"\b(?:the|an|of|to|and|or|nor|is|are|was|were|by|in|on|at|for|with|from|into|that|which|as"
    r"|be|been|will|can|could|would|should|because|since|if|when|where|while|than|then|its|their"
    r"|this|these|those|we|it|have|has|had|do|does|using|whose|each|per|between|but|substitut\w*"
    r"|approximately|about|equals?|times|gives?|get|let|let's|plugging|now|answer is)\s*\Z",
    re.IGNORECASE,
)
_MID_NUMBER = re.compile(r"[-=+*/^\u00d7\u00b7\u2248]\s*[$(]?\d+\.\Z")
_WORD = re.compile(r"\w+")
_LABEL = re.compile(r"^\W{0,3}([A-Z])\b[).:]?", re.MULTILINE)
_BARE_LABEL = re.compile(r"\W{0,3}([A-Z])\W{0,3}")
_ROW = re.compile(  # of a table, or a list
    r"\n *\|[^\n|]*(?:\|[^\n|]+)*\Z|\n *[-*\u2022+] +[^\n]*\n+ *[-*\u2022+] +\W{0,3}\w{1,2}\Z"
)
_ITEMS = re.compile(  # two items of a list, neither with a full stop
    r"\n *(?:[-*\u2022+]|\d+[.)]) [^\n]*[^\n.!?]\n+ *(?:[-*\u2022+]|\d+[.)]) [^\n]*[^\n.!?]\Z"
)
_SENTENCE_END = re.compile(r"[.!?\u3002](?=\s|\Z)|\n")
_FORMULA = re.compile(r"=|\\[a-z]+\{|\d ?[-+*/^\u00d7]")
LONG_TEXT = 400
"""Characters from which any last sentence without a full stop does."""
LONG_SENTENCE = 5
"""Words from which a last sentence without a full stop counts as stopped midway."""


def stops_midway(text: str, *, names_option: bool = False) -> bool:
    """True where the end of a text looks like the place where a limit fell.

    A short answer needs no full stop ("B", "10 cm", "The state is Illinois"); after other sentences
    that have one, a sentence without has been cut, unless it ends where an option is named.
    """
    tail = text[-_TAIL:].rstrip()
    if not tail:
        return False
    if is_cycle(tail):
        return True
    if _MID_NUMBER.search(tail[-40:]) or _open_bracket(tail):
        return True
    if _ROW.search(tail):
        return True
    if _CLOSED.search(tail[-20:]):
        return False
    if _next_item(tail):
        return True
    *before, last = _SENTENCE_END.split(tail)
    alone = not any(len(_WORD.findall(part)) > 2 for part in before)
    words = len(_WORD.findall(last))
    if _OPERATOR.search(tail[-10:]) or (
        (words > 2 or not alone) and _CONNECTIVE.search(tail[-30:])
    ):
        return not alone or words > LONG_SENTENCE + 3
    return (
        not alone
        and not names_option
        and not _ITEMS.search(tail)
        and (len(tail) > LONG_TEXT or words >= LONG_SENTENCE or _FORMULA.search(last) is not None)
    )


def is_cycle(tail: str) -> bool:
    """The text ends with one piece over and over."""
    last = tail[-_CYCLE_CHARS:]
    before = tail.rfind(last, 0, len(tail) - 1)
    period = len(tail) - len(last) - before
    if before < 0 or not last.strip(" .-_=*\n"):
        return False
    return tail.endswith(tail[-period:] * _CYCLES)


def _open_bracket(tail: str) -> bool:
    """A formula, a bracket or emphasis is open at the end."""
    if tail.count("$$") % 2:
        return True
    for opening, closing in (("\\[", "\\]"), ("\\(", "\\)")):
        if tail.rfind(opening) > tail.rfind(closing):
            return True
    last = tail[max(tail.rfind("\n"), tail.rfind(". ")) + 1 :]
    return last.count("(") > last.count(")") or last.count("{") > last.count("}")


def _next_item(tail: str) -> bool:
    """The last line is the label of the item that comes next in a list: "F. True.", "G"."""
    lines = tail.rsplit("\n", 1)
    bare = _BARE_LABEL.fullmatch(lines[-1])
    if bare is None or len(lines) == 1:
        return False
    labels = _LABEL.findall(lines[0])
    return len(labels) > 1 and ord(labels[-1]) + 1 == ord(bare[1])
