"""Statements: the places where a text in plain English says which option is the answer.

Here are what a statement is and the phrases that say it outright, "the answer is B"; `closings` and
`judgements` have the others.

Each pattern is a way of committing, judging or rejecting. It names options (the group `named`);
`references.option_of` turns what is named into one option or into the reason why it is none. No
pattern has an unbounded part that could be tried again from every place: hostile texts cost no more
than others of their length.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from harness.extract.english import STOPS
from harness.extract.needles import may_match
from harness.extract.references import (
    CONFLICT,
    OUTSIDE,
    B,
    L,
    Options,
    R,
    T,
    index_of,
    option_of,
    references,
)
from harness.extract.spelling import BOX


class Weight(IntEnum):
    """How much a statement says; a heavier one beats those that are lighter."""

    CLOSING = 0
    """A line that stands for a conclusion: "So D." """
    BOX = 1
    LOOSE = 2
    """It says that something is the correct one of its kind: "the correct statement is C"."""
    EXPLICIT = 3
    """It says that something is the answer, or is chosen."""


class Statement(NamedTuple):
    """A phrase that commits to what it names or, where `rule` is empty, rejects it."""

    start: int
    """Where the phrase begins in the text; at `at` begins what it names."""
    at: int
    end: int
    rule: str
    named: str
    weight: Weight = Weight.EXPLICIT
    final: bool = False
    """It calls itself the final answer."""
    adds: bool = False
    """It adds to what was said before: "C is also correct"."""
    hedged: bool = False
    """It only calls itself the closest, so that "none is exact" takes nothing back."""
    plain: bool = False
    """It says "the answer is B", by the letter."""

    @property
    def is_explicit(self) -> bool:
        return self.weight is Weight.EXPLICIT

    @property
    def is_lettered(self) -> bool:
        """It names by letter."""
        return re.match(f"[{L}{B}]", self.named) is not None

    @property
    def is_of_list(self) -> bool:
        """It may be one of a list of answers, each a letter."""
        return (
            self.is_lettered
            and self.rule == "answer phrase"
            and self.option != "letter and text disagree"
        )

    @property
    def is_refusal(self) -> bool:
        return self.rule == "refusal"

    @property
    def option(self) -> int | str:
        """The option that it names, or why that is none."""
        return option_of(self.named) if self.named else "value outside the options"


_NAMES = re.compile(rf"[{R}{BOX}]|answer")
_NEAR = 2
"""Lines around one that names an option which may belong to a statement."""


@lru_cache(maxsize=8)
def _passages(text: str) -> tuple[tuple[int, int], ...]:
    """Where the lines are that may hold a statement: those near an option or an "answer"."""
    ends = [found.start() for found in re.finditer(r"\n|\Z", text)]
    passages: list[tuple[int, int]] = []
    for found in _NAMES.finditer(text):
        line = bisect_left(ends, found.start())
        start = ends[line - _NEAR - 1] + 1 if line > _NEAR else 0
        end = ends[min(line + _NEAR, len(ends) - 1)]
        if passages and start <= passages[-1][1] + 1:
            passages[-1] = (passages[-1][0], end)
        else:
            passages.append((start, end))
    return tuple(passages)


def matches(
    pattern: re.Pattern[str], text: str, needles: Collection[str] = ()
) -> Iterator[re.Match[str]]:
    """`pattern.finditer` in those lines only: most of a long working names no option.

    Args:
        needles: each match contains one of them; none: it need not contain anything.
    """
    if not may_match(text, needles):
        return
    for start, end in _passages(text):
        yield from pattern.finditer(text, start, end)


# Groups of references. They are bounded and possessive.

_JOIN = r" ?[,/&+|(]? ?(?:(?:and/or|and|or|plus) )?(?:(?:the|an?|both|maybe|possibly|perhaps) )?"
VERBS = r"(?:is|are|was|were|would|has|have|does|do|did|can|could|will|shows|seems|looks|being)"
OBJECT = rf"(?P<named>[{R}](?:{_JOIN}[{R}](?! {VERBS}\b)){{0,30}}+)"
NEITHER = (
    rf"(?:the |an? )?(?P<named>[{R}]"
    rf"(?:(?:, |,? (?:or|nor) )(?:the |an? )?[{R}](?! {VERBS}\b)){{0,30}}+)"
)

# "The answer is B."

_GRADED = (
    r"(?:most \w+|best|better|closest|nearest|correct|right|only|final|true|appropriate|suitable"
    r"|accurate|plausible|reasonable|logical|proper|chosen|selected)"
)
_HEAD = re.compile(
    rf"{BOX}|\b(?:(?:answers?|ans"
    r"|(?:correct|right|best|better|final|true|appropriate|suitable|accurate|selected|chosen|my|likely"
    r"|closest|nearest|only|plausible|reasonable|logical|probable|fitting|proper) (?:one|choice"
    r"|option|response|letter|statement|selection|pick|guess|alternative|conclusion|match|fit"
    r"|description|explanation))\b"
    r"|(?:conclusion|correction|correct|verdict)(?= ?[:=])"
    r"|(?<![^.\n] )(?:choice|option)(?= ?[:=])"
    rf"|(?:the|a) {_GRADED}(?= is [{L}{B}]))"
)
_OTHER_NOUN = re.compile(r"statement|description|explanation|conclusion")
_LOOSE_HEAD = re.compile(  # names only what it is; then it takes a letter to be a statement
    rf"\b(?:{_GRADED} (?!answer)\w+|(?:the |an? )(?:option|choice|statement|letter|alternative)"
    r" (?:that|which|who)\b)"
)
_SEEKING = re.compile(  # "to answer", "to find the answer": nothing is said to be the answer yet
    r"(?:\bto|\b(?:find|finding|determine|determining|identify|know|reach|deduce|format|form"
    r"|check|consider|examine|evaluate|analy[sz]e|compare|verify|test|look at)(?: at)?(?: the| an"
    r"| each| every)?(?: correct| right| best)?) \Z"
)
_COPULA = re.compile(
    r"(?P<gap>[^.!?;:=\n]{0,100}?)"
    r"(?:(?<![\d,]) ?[:=]"
    r"|\b(?:is|are|was|remains|(?:would|should|must|will|has to|seems to|appears to) be)\b)"
)
_LOOSE_COPULA = re.compile(
    r"(?P<gap>[^.!?;:=\n]{0,100}?)\b(?:is|was|(?:would|should|must|will|has to) be)\b"
)
_FILLER = re.compile(
    rf"[ \n:=>\"'(,{{{BOX}-]*+(?:(?:the|an?|that|it|this|to|be|is|correct|right|best|answer|option"
    r"|choice|letter|one|given|represented|described|denoted|indicated|shown|provided|found|by|as"
    r"|follows|only|either|both|in|therefore|thus|then|hence|labell?ed|marked|boxed|statement"
    r"|a combination of)"
    rf"\b[ \n:=>\"'(,{{{BOX}-]*+){{0,8}}"
)
_NAMED = re.compile(OBJECT)
_NAMED_AT_ONCE = re.compile(rf"[ \n:=>{{,|\])-]{{0,4}}{OBJECT}(?:{STOPS}|(?= ?[,|\[]))")
_BEFORE_LIST = re.compile(rf"[{R}] ?\.?\n ?[{R}] ?(?:[.:]|$)", re.MULTILINE)
_BEGINS_LIST = re.compile(rf"[{L}] ?[.:]\n")
_LABEL_OF_LIST = re.compile(rf"^ ?([{L}{B}{CONFLICT}]) ?[.:]", re.MULTILINE)
_NEXT_OF_LIST = re.compile(rf"^ ?([{R}]) ?(?:[.:]|$)", re.MULTILINE)
_ASIDE = re.compile(
    r"[.!?;\n]|\b(?:because|since|as|which|while|whereas|but|than|compared|not|rather|instead"
    r"|unlike|so|where|when|if)\b"
)
_VALUE = re.compile(r" ?[-+$\u20ac\u00a3(]{0,2}(?:\d|[a-z] ?\))")
_LAST_OF_CHAIN = re.compile(rf"= ?([{T}])[ )}}$]*\Z")
HEDGE = re.compile(r"\b(?:closest|nearest|best)\b")
_AND_OTHERWISE = re.compile(  # "B if it is elastic, or C if it is not"
    r" (?:if|when|in|with|at|under)\b[^.!?\n]{0,80}?"
    rf"(?:\b(?:and|or|but|while)|[,;]) ?([{L}{B}]) (?:for|if|when|in|with|at|under)\b"
)
_SUPPOSING = re.compile(
    r"(?:^|\n) ?(?:(?:but|so|now|and|even),? )?(?:if|had|were|assuming|supposing|in case)\b[^\n]*\Z"
)
_SUPPOSED = re.compile(r"\b(?:would|could|might)\b")


def answer_phrases(text: str, options: Options) -> Iterator[Statement]:
    """Finds "the answer is B", "Answer: B", "the correct option would be (B)", and boxes.

    It names the option that stands right there, or the only text of one in what is said to be the
    answer. What is said to be the answer and is no option is a statement too: it names nothing.
    """
    for head in matches(_HEAD, text):
        if _SEEKING.search(text[max(0, head.start() - 40) : head.start()]):
            continue
        if found := _phrase(text, head, options):
            yield found
    for head in matches(_LOOSE_HEAD, text):
        if _SEEKING.search(text[max(0, head.start() - 40) : head.start()]):
            continue
        tail = text[head.end() : head.end() + 200]
        copula = _LOOSE_COPULA.match(tail)
        filler = _FILLER.match(tail, copula.end()) if copula else None
        letter = _NAMED.match(tail, filler.end()) if filler else None
        if letter and re.match(f"[{L}{B}]", letter["named"]):
            named = letter["named"] + _rest_of_list(tail, filler.end() if filler else 0, letter)
            at = head.end() + letter.start()
            yield _statement(text, head, at, named)._replace(weight=Weight.LOOSE)


def _phrase(text: str, head: re.Match[str], options: Options) -> Statement | None:
    tail = text[head.end() : head.end() + 300]
    boxed = head[0] == BOX
    copula = None if boxed else _COPULA.match(tail)
    if copula is None:
        found = _NAMED_AT_ONCE.match(tail)
        if found and _is_whole(found, options):
            return _statement(text, head, head.end() + found.start("named"), found["named"])
        return _statement(text, head, head.end() + 1, "") if boxed else None
    filler = _FILLER.match(tail, copula.end())
    start = filler.end() if filler else copula.end()
    if found := _NAMED.match(tail, start):
        if not _is_whole(found, options):
            return _statement(text, head, head.end() + start, "")
        named = found["named"] + _rest_of_list(tail, start, found)
        return _statement(text, head, head.end() + start, named)
    if references(copula["gap"]):
        return None
    said = _ASIDE.split(tail[start:], maxsplit=1)[0]
    named = _without_numbers(references(said), options)
    if re.search(f"[{T}{B}]", named) and option_of(named) != "two options":
        return _statement(text, head, head.end() + start, named, length=len(said))
    if last := _LAST_OF_CHAIN.search(said):  # "the answer is 6! / 3! = 120"
        return _statement(text, head, head.end() + start, last[1], length=len(said))
    if _VALUE.match(tail, copula.end()):
        return _statement(text, head, head.end() + start, "", length=len(said))
    return None


_SHARED = re.compile(rf" for [^.\n]{{1,80}}?(?:\band|,|;) ?(?:the )?([{R}]|[(]?[ivx]{{2,4}}\b)")


def _rest_of_list(tail: str, start: int, found: re.Match[str]) -> str:
    """What follows, line by line, the first of several that are said to be the answer."""
    if shared := _SHARED.match(tail, found.end()):  # "B for the time and C for the speed"
        return shared[1][-1] if references(shared[1]) else OUTSIDE
    if otherwise := _AND_OTHERWISE.match(tail, found.end()):
        return otherwise[1]
    on_a_line = tail[:start].endswith("\n")
    if on_a_line and _BEGINS_LIST.match(tail, start):  # a list with other texts than ours
        return "".join(_LABEL_OF_LIST.findall(tail, found.end()))
    if (on_a_line or ":" in tail[:start]) and _BEFORE_LIST.match(tail, start):
        return "".join(_NEXT_OF_LIST.findall(tail, found.end()))
    return ""


def _statement(
    text: str, head: re.Match[str], at: int, named: str, *, length: int | None = None
) -> Statement:
    end = at + (len(named) if length is None else length)
    before = text[max(0, head.start() - 200) : head.start()]
    letter = re.match(f"[{L}{B}]", named) is not None
    # Not in "Final answer: the answer is C": that is a heading, and repeats the sentence.
    called_final = before.endswith("final ") and "answer" not in text[head.end() : at]
    supposed = _SUPPOSED.search(text, head.end(), at) and _SUPPOSING.search(before)
    weight = Weight.CLOSING if supposed else _weight(head[0])
    return Statement(
        head.start(),
        at,
        max(end, head.end()),
        "answer phrase",
        named,
        weight,
        final="final" in head[0] or called_final or "final answer" in before[-12:],
        hedged=HEDGE.search(text, max(0, head.start() - 20), at) is not None,
        plain=letter and not supposed and "answer" in head[0],
    )


_PER_QUESTION = re.compile(r"[^.\n]{0,300}?\b(?:respectively|questions?)\b")


def is_for_several(text: str, statement: Statement) -> bool:
    """It gives the answers to several questions: "B, D and B", "A, C, respectively"."""
    named = references(statement.named)
    if len(named) < 2 and not re.match(r" for the \w+", text[statement.end : statement.end + 40]):
        return False
    repeats = len(set(named)) < len(named)
    return repeats or _PER_QUESTION.match(text, statement.end) is not None


def _weight(head: str) -> Weight:
    if head == BOX:
        return Weight.BOX
    return Weight.LOOSE if _OTHER_NOUN.search(head) else Weight.EXPLICIT


def _is_whole(found: re.Match[str], options: Options) -> bool:
    """A number is named where it stands alone: not 12 in "12 times 13"."""
    named = found["named"]
    if not re.match(f"[{T}]", named) or index_of(named[0]) not in options.numeric:
        return True
    return re.match(r" ?[-+*/^=<>]|[^\W\d]", found.string[found.end("named") :]) is None


def _without_numbers(named: str, options: Options) -> str:
    return "".join(
        ref for ref in named if not re.match(f"[{T}]", ref) or index_of(ref) not in options.numeric
    )
