"""Statements: the places where a text in plain English says, or denies, which option is the answer.

Each pattern is a way of committing, judging or rejecting. It names options (the group `named`);
`references.option_of` turns what is named into one option or into the reason why it is none. No
pattern has an unbounded part that could be tried again from every place: hostile texts cost no more
than others of their length.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from harness.reading.english import STOPS, SUBJECT
from harness.reading.references import (
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
from harness.reading.spelling import BOX


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


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """`pattern.finditer` in those lines only: most of a long working names no option."""
    for start, end in _passages(text):
        yield from pattern.finditer(text, start, end)


# Groups of references. They are bounded and possessive.

_JOIN = r" ?[,/&+|(]? ?(?:(?:and/or|and|or|plus) )?(?:(?:the|an?|both|maybe|possibly|perhaps) )?"
VERBS = r"(?:is|are|was|were|would|has|have|does|do|did|can|could|will|shows|seems|looks|being)"
OBJECT = rf"(?P<named>[{R}](?:{_JOIN}[{R}](?! {VERBS}\b)){{0,30}}+)"
_NEITHER = (
    rf"(?:the |an? )?(?P<named>[{R}]"
    rf"(?:(?:, |,? (?:or|nor) )(?:the |an? )?[{R}](?! {VERBS}\b)){{0,30}}+)"
)

# "The answer is B."

_GRADED = (
    r"(?:most \w+|best|better|closest|nearest|correct|right|only|final|true|appropriate|suitable"
    r"|accurate|plausible|reasonable|logical|proper|chosen|selected)"
)
_HEAD = re.compile(
    rf"{BOX}|\b(?:answers?|ans"
    r"|(?:correct|right|best|better|final|true|appropriate|suitable|accurate|selected|chosen|my|likely"
    r"|closest|nearest|only|plausible|reasonable|logical|probable|fitting|proper) (?:one|choice"
    r"|option|response|letter|statement|selection|pick|guess|alternative|conclusion|match|fit"
    r"|description|explanation))\b"
    r"|\b(?:conclusion|correction|correct|verdict)(?= ?[:=])"
    r"|(?<![^.\n] )\b(?:choice|option)(?= ?[:=])"
    rf"|\b(?:the|a) {_GRADED}(?= is [{L}{B}])"
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
_DENIED_AFTER = re.compile(
    rf"(?:,? (?:and|or|nor) [{R}])?"
    r" ?(?:(?:does|do|did) not (?:fit|match|work|apply|make|satisfy|correspond|agree|hold)\b"
    r"|(?:is|are|was|were|seems|would be|can not be) (?:not\b|incorrect|wrong|false|invalid"
    r"|eliminated|out\b|impossible|unlikely))"
    r"|,? (?:which|but (?:it|this|that)) is (?:incorrect|wrong|not (?:the )?(?:correct|right)\b)"
)
_VALUE = re.compile(r" ?[-+$\u20ac\u00a3(]{0,2}(?:\d|[a-z] ?\))")
_LAST_OF_CHAIN = re.compile(rf"= ?([{T}])[ )}}$]*\Z")
_HEDGE = re.compile(r"\b(?:closest|nearest|best)\b")
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
    for head in _matches(_HEAD, text):
        if _SEEKING.search(text[max(0, head.start() - 40) : head.start()]):
            continue
        if found := _phrase(text, head, options):
            yield found
    for head in _matches(_LOOSE_HEAD, text):
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
    if tail[:start].endswith("\n") and _BEGINS_LIST.match(
        tail, start
    ):  # the labels of a list with other texts than ours
        return "".join(_LABEL_OF_LIST.findall(tail, found.end()))
    if not _BEFORE_LIST.match(tail, start):
        return ""
    return "".join(_NEXT_OF_LIST.findall(tail, found.end()))


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
        hedged=_HEDGE.search(text, max(0, head.start() - 20), at) is not None,
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


# "So D." "I'd go with C."

_THEREFORE = (
    r"(?:so|therefore|thus|hence|consequently|accordingly|(?<!thing )(?<!all )but|rather"
    rf"|(?:then|finally)(?=,? [{L}{B}])|instead|overall|leaving|leaves|conclusion|summary|short"
    r"|as a result|elimination|this means|which means|(?:no|wait)(?=,))"
    r"(?: us)?(?: with)?,?(?: that)?"
    r"(?: (?:it|this|that|they|these|the \w+|these \w+)"
    r"(?: (?:is|are|will|(?:must|should|would|has to) be))?)?"
)
_CHOOSE = (
    r"(?:i|we)(?: (?:would|will|am|should|can|must|do|have|going|to)){0,4}"
    r" (?:choose|chose|pick|picked|select|selected|opt for|say|answer|guess|vote for|conclude"
    r"|think|believe|suppose)(?: that)?(?: (?:it|this|that) (?:is|(?:would|should|must) be))?"
    r"|(?:go|going|went) with|lean(?:ing)? towards?|(?:(?<=\n)|(?<![\s\S]))(?:choose|select|pick)"
)
_MATCHES = (
    rf"(?:(?:this|it|that|which) )?(?:matches|corresponds to|fits|closest to)(?= [{L}{B}])"
    r"|(?:this|it|that) (?:matches|corresponds to|fits)"
)
_IS_LETTER = rf"(?:it is|(?:must|has to|should|would|gotta) be|which is)(?= [{L}{B}])"
_CLOSING = re.compile(
    rf"\b(?P<how>{_THEREFORE}|(?P<chooses>{_CHOOSE})|{_MATCHES}|{_IS_LETTER})"
    rf":? (?:only )?(?:with )?(?:the |an? )?{OBJECT}{STOPS}"
)
_IS_LINE = re.compile(  # "What she needs is:", and on the next line "B. Illinois"
    r"\b(?:is|be):\n ?"
    rf"(?P<named>[{L}{B}])(?=[.:)]| ?$|,? which)(?!(?:[^\n]*\n){{1,2}} ?[{L}{B}][.:)])",
    re.MULTILINE,
)
_THEREFORE_IS = re.compile(  # "Therefore, the factor that worsens a deficit is A."
    r"\b(?:so|therefore|thus|hence|consequently|overall|in conclusion|based on \w+ \w+),?"
    rf" [^.!?;:\n{R}]{{1,150}}?\b(?:is|are|would be|must be|should be):? (?:the )?"
    rf"(?=[{L}{B}]){OBJECT}{STOPS}"
)
_CORRECTED = re.compile(  # "On closer look, B."
    r"^ ?(?:no|wait|hmm|correction|sorry|oops|on (?:a )?(?:closer|second|further|reflection)"
    r"|let me|looking (?:again|more|closer)|after (?:re|closer|further|looking)|upon"
    rf"|thinking (?:again|about it))[^.!?\n{R}]{{0,60}}?[,:-] ?(?:(?:it is|i meant|make that"
    rf"|(?:it|that) should be) )?{OBJECT}[ .!]*$",
    re.MULTILINE,
)
_LAST_SENTENCE = re.compile(
    rf"(?:it|this|that) (?:is|must be|would be) (?:the |an? )?{OBJECT}{STOPS}"
    r"|(?P<so>so|therefore|thus|hence|consequently|accordingly|in (?:conclusion|summary|short)"
    r"|overall|as a result|based on|among|of (?:these|the))\b"
)
_LETTER_IS_SUBJECT = re.compile(rf"(?:,|\b(?:so|therefore|thus|hence|that)) [{L}]")
_AT_THE_END = re.compile(rf"[{R}]{STOPS}")
_LINE_LABEL = re.compile(rf"^ ?([{L}{B}])", re.MULTILINE)
_LABEL_ONLY = re.compile(
    r"^ ?(?:(?:final|result|response|solution|key|correct) ?:)?[ :\"'(>-]{0,4}"
    rf"(?P<named>[{L}{B}])[ .!)\"']{{0,4}}$",
    re.MULTILINE,
)


def closing_phrases(text: str) -> Iterator[Statement]:
    """Finds "so D.", "I think it is C", and a last sentence "Therefore, the magnets repel"."""
    for found in _matches(_CLOSING, text):
        weight = Weight.EXPLICIT if found["chooses"] else Weight.CLOSING
        at, end = found.span("named")
        yield Statement(found.start(), at, end, "closing phrase", found["named"], weight)
    for pattern in (_THEREFORE_IS, _IS_LINE, _CORRECTED):
        for found in _matches(pattern, text):
            at, end = found.span("named")
            yield Statement(
                found.start(), at, end, "closing phrase", found["named"], Weight.CLOSING
            )
    start = text.rfind("\n") + 1
    if last := _LAST_SENTENCE.match(text, start):
        named = last["named"] or only_named(text[start:])
        places = [found.start() for found in _AT_THE_END.finditer(text, start)]
        if named and places:
            at = places[-1]
            yield Statement(start, at, at + 1, "closing phrase", named, Weight.CLOSING)
    if start and (only := _LABEL_ONLY.match(text, start)):
        labels = [index_of(label) for label in _LINE_LABEL.findall(text[:start])]
        rivals = {found["named"] for found in _LABEL_ONLY.finditer(text[:start])}
        option = index_of(only["named"])
        is_next_of_list = option - 1 in labels and option not in labels
        if not is_next_of_list and not rivals - {only["named"]}:
            at, end = only.span("named")
            rule = "closing letter"
            yield Statement(start, at, end, rule, only["named"], Weight.CLOSING, final=True)


def closing_sentence(sentence: str) -> str:
    """What a last sentence such as "Based on the map, Illinois is farthest west" names, or ""."""
    last = _LAST_SENTENCE.match(sentence)
    named = only_named(sentence) if last and last["so"] else ""
    if re.search(f"[{T}{B}]", named) or (named and _LETTER_IS_SUBJECT.search(sentence)):
        return named
    return ""


def only_named(sentence: str) -> str:
    """The references of a sentence that are not rejected, where they name one option, or ""."""
    rejected = "".join(claim.named for claim in rejections(sentence))
    named = "".join(reference for reference in references(sentence) if reference not in rejected)
    return named if isinstance(option_of(named), int) else ""


# "B is correct." "A is wrong."

_GOOD = (
    r"(?:(?:valid |possible |plausible |good |acceptable )?answer\b|(?:closest|nearest) \w+"
    r"|(?:correct|right|accurate|appropriate|true|best|better)"
    r"(?= ?(?:[.,;:!)\n]|$)| (?:because|since|as|and|answer|choice|option|one|response|statement"
    r"|letter|description|based|given|for|here)\b))"
)
_VERDICT = re.compile(
    rf"(?<!neither )(?<!nor )(?P<made>\b(?:mak|leav)(?:es?|ing) )?{SUBJECT}"
    r"(?:,? (?:(?:is|are|was|(?:would|should|must|has to) be)(?P<adds> also)?|also is)"
    rf"(?: all| both)?(?: the| my| our)?(?: only| most| single| one)? (?P<good>{_GOOD})"
    r"|(?(made)|,? as) (?:the|our|my) (?:(?:only|most) )?(?:\w+ )?"
    r"(?P<called>answer|choice|option)\b"
    rf"|,? it is{STOPS}| ?[-:(] ?correct\b| makes (?:the )?most sense\b"
    r"|(?: \w+){0,4} fits best\b)"
)
_NAMES_ANSWER = re.compile(
    r"answer|(?:correct|right|best|better) (?:answer|choice|option|one|response)"
)


class Verdict(NamedTuple):
    """Something that an option is said to be."""

    statement: Statement
    is_answer: bool
    """It is called the answer, not only correct or true."""


def verdicts(text: str) -> Iterator[Verdict]:
    """Finds "B is correct"."""
    for found in _matches(_VERDICT, text):
        at = found.start("named")
        is_answer = found["called"] or (
            found["good"] and _NAMES_ANSWER.match(text, found.start("good"))
        )
        weight = Weight.CLOSING if found["good"] == "true" else Weight.EXPLICIT
        hedged = _HEDGE.search(found[0]) is not None
        statement = Statement(
            found.start(),
            at,
            found.end(),
            "verdict",
            found["named"],
            weight,
            adds=found["adds"] is not None,
            hedged=hedged,
        )
        yield Verdict(statement, bool(is_answer))


_REJECTIONS = (
    re.compile(  # "not A", "neither A nor B", "B rather than A"
        r"\b(?:not|never|neither|nor|rather than|instead of|unlike|except|other than|as opposed to"
        r"|doubt|unlikely) (?!only\b)"
        rf"(?P<words>(?:(?!(?:but|it|is|so|because|since|and|that|we|i)\b)\w+ ){{0,3}}){_NEITHER}"
    ),
    re.compile(rf"\b(?:exclud\w+|eliminat\w+|rul\w+ out|discard\w*|reject\w*) {OBJECT}"),
    re.compile(  # "I do not think that it is B"
        r"\b(?:not (?:think|believe|say|agree)|doubt|unlikely|impossible)(?: that)?"
        r"(?: (?:it|this|that|the answer))?(?: (?:is|was|to be|(?:would|could|should|can) be))? "
        f"{_NEITHER}"
    ),
    re.compile(  # "A and B are wrong"
        rf"{SUBJECT}"
        r"(?: (?:is|are|was|were|seems|looks|(?:would|can|could|must) be)(?: all| both)?"
        r" (?:wrong|incorrect|false|eliminated|excluded|ruled out|out|impossible|unlikely|invalid"
        r")\b"
        r"| ?[-:(] ?(?:incorrect|wrong)\b"
        r"| (?:is|are|was|were) not (?:the )?(?:correct|right|answer|best|true|it)\b)"
    ),
)
_WRONG = re.compile(r"\b(?:wrong|incorrect|not (?:the )?(?:correct|right|answer))\b")
# What is said not to be so is no answer, though it may yet be one: "Illinois is not on the coast".
_DENIED = r"(?= (?:is|are|was|were|do|does|did|can|could|will|would|has|have) not\b)"
DENIED_LETTER = re.compile(rf"[{L}{B}]{_DENIED}")
DENIED_TEXT = re.compile(rf"[{T}{B}]{_DENIED}")


def rejections(text: str) -> Iterator[Statement]:
    """Finds "not A", "A and B are wrong", "B rather than A": one rejection for each option.

    Only one that takes an option by its name takes back what was said before: not "B. There is not
    an inactive A in it".
    """
    for pattern in _REJECTIONS:
        for found in _matches(pattern, text):
            at = found.start("named")
            loose = bool(found.groupdict().get("words"))
            for reference in references(found["named"]):
                by_text = re.match(f"[{T}{B}]", reference) and not _WRONG.search(found[0])
                weight = Weight.CLOSING if loose or by_text else Weight.EXPLICIT
                yield Statement(found.start(), at, found.end(), "", reference, weight)


def is_denied(text: str, statement: Statement) -> bool:
    """It says the contrary: "the answer is A is wrong because ..."."""
    denied = _DENIED_AFTER.match(text, statement.end)
    by_text = re.search(f"[{T}{B}]", statement.named)  # "B. Illinois is not far": another sentence
    return denied is not None and (not by_text or _WRONG.search(denied[0]) is not None)


# "None of the above." "I cannot see the image."

REFUSAL = re.compile(
    r"\b(?:i|we) (?:can|could|do|am|would|was|are|will) (?:not|unable)\b(?: \w+){0,2}? (?:determine"
    r"|see|view|answer|tell|identify|provide|access|assist|help|process|analy[sz]e|know|sure"
    r"|certain|able|have|to)\b|\b(?:i|we) (?:am|are) unable\b"
    r"|\bunable to (?:determine|see|view|answer|tell|identify)\b"
    r"|\b(?:can|could) not be (?:determined|answered|identified|seen|concluded|inferred)\b"
    r"|\b(?:not possible|impossible|hard|difficult) to"
    r" (?:determine|tell|say|answer|know|identify)\b"
    r"|\b(?:not enough|insufficient|not sufficient) (?:information|context|detail|data)"
    r"|\bnone of (?:the|these|those|them)\b|^ ?none\b"
    rf"|\bneither\b(?! (?:the |an? )?[{R}])"
    r"|\bnot (?:clear|certain|sure|among|listed|one of)\b|\bunclear\b|\buncertain\b"
    r"|\bnot[- ]applicable\b|\bunanswerable\b|\bunknown\b|\bno (?:answer|image|picture)\b"
    r"|\bas an ai\b|^ ?(?:i am )?(?:so |very )?sorry\b(?! for the confusion)"
)
_NONE = re.compile(
    r"\bnone of (?:the|these|those|them)\b(?! (?:\w+ ){0,2}?(?:other|rest|remaining))"
    r"|\b(?:not|n't) (?:\w+ )?(?:listed|among|in|one of|part of|included in|present in|provided in"
    r"|available in|matching any of) (?:the |these |those |any of the )?(?:\w+ ){0,2}?"
    r"(?:options|choices|list|answers|answer choices|alternatives)\b"
    r"|\b(?:no|without an?) (?:\w+ )?(?:correct|right|valid|matching|suitable|single|definitive)"
    r" (?:answer|option|choice)"
    r"|\bdo(?:es)? not match any\b"
    r"|\b(?:lacks?|do(?:es)? not (?:contain|provide|include|give)) (?:an? |the |any |enough )?"
    r"(?:\w+ )?(?:solution|answer|information)\b"
    r"|\b(?:i|we) (?:can not|could not|am unable to|are unable to|will not) (?:\w+ )?"
    r"(?:provide|give|determine|answer|choose|select|solve|calculate)\b"
    r"|\b(?:can|could) not be (?:determined|answered|solved|calculated)\b"
)


_SAYS_ANSWER = re.compile(r"answer(?: \w+)?:? [\"'(]{0,2}\Z")


def refusals(text: str) -> Iterator[Statement]:
    """Finds "none of the options is right", "it cannot be determined"."""
    for found in _NONE.finditer(text):
        says = _SAYS_ANSWER.search(text[max(0, found.start() - 20) : found.start()])
        weight = Weight.EXPLICIT if says else Weight.LOOSE
        yield Statement(found.start(), found.start(), found.end(), "refusal", OUTSIDE, weight)
