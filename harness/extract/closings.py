"""Statements that close a reasoning: "So D.", "I'd go with C", a last line that is a letter."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.extract.english import STOPS
from harness.extract.judgements import rejections
from harness.extract.references import B, L, R, T, index_of, option_of, references
from harness.extract.statements import OBJECT, Statement, Weight, matches

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
_CLOSING_LINES = (
    (
        _THEREFORE_IS,
        ("so", "therefore", "thus", "hence", "conse", "overall", "in conclusion", "based on"),
    ),
    (_IS_LINE, ("is:\n", "be:\n")),
    (_CORRECTED, ()),
)
"""(pattern, needles: see `matches`)."""
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
    for found in matches(_CLOSING, text):
        weight = Weight.EXPLICIT if found["chooses"] else Weight.CLOSING
        at, end = found.span("named")
        yield Statement(found.start(), at, end, "closing phrase", found["named"], weight)
    for pattern, needles in _CLOSING_LINES:
        for found in matches(pattern, text, needles):
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
