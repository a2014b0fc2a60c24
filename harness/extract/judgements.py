"""Judgements of options: "B is correct", "A is wrong", and of all of them: "none of the above"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from harness.extract.english import STOPS, SUBJECT
from harness.extract.needles import may_match
from harness.extract.references import OUTSIDE, B, L, R, T, references
from harness.extract.statements import HEDGE, NEITHER, OBJECT, Statement, Weight, matches

# "B is correct." "A is wrong."

_GOOD = (
    r"(?:(?:valid |possible |plausible |good |acceptable )?answer\b|(?:closest|nearest) \w+"
    r"|(?:correct|right|accurate|appropriate|true|best|better)"
    r"(?= ?(?:[.,;:!)\n]|$)| (?:because|since|as|and|answer|choice|option|one|response|statement"
    r"|letter|description|based|given|for|here)\b))"
)
_BEST = (
    r"(?:most (?:likely|probable|plausible|appropriate|suitable|accurate|reasonable|logical|fitting"
    r"|relevant)|best|likeliest)"
)
_VERDICT = re.compile(
    rf"(?=[ml{R}])(?<!neither )(?<!nor )(?P<made>\b(?:mak|leav)(?:es?|ing) )?{SUBJECT}"
    r"(?:,? (?:(?:is|are|was|(?:would|should|must|has to) be)(?P<adds> also)?|also is)"
    rf"(?: all| both)?(?: the| my| our)?(?: only| most| single| one)? (?P<good>{_GOOD})"
    rf"|,? (?:is|would be) the (?P<best>{_BEST} \w+)"
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
    for found in matches(_VERDICT, text):
        at = found.start("named")
        is_answer = found["called"] or (
            found["good"] and _NAMES_ANSWER.match(text, found.start("good"))
        )
        weight = Weight.CLOSING if found["good"] == "true" else Weight.EXPLICIT
        if found["best"]:
            weight = Weight.LOOSE
        hedged = HEDGE.search(found[0]) is not None
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


_INSTEAD = (
    *("not", "never", "neither", "nor", "rather than", "instead of", "unlike", "except"),
    *("other than", "as opposed to", "doubt", "unlikely"),
)
_REJECTIONS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (
        re.compile(  # "not A", "neither A nor B", "B rather than A"
            rf"\b(?:{'|'.join(_INSTEAD)}) (?!only\b)"
            r"(?P<words>(?:(?!(?:but|it|is|so|because|since|and|that|we|i)\b)\w+ ){0,3})"
            rf"{NEITHER}"
        ),
        _INSTEAD,
    ),
    (
        re.compile(rf"\b(?:exclud\w+|eliminat\w+|rul\w+ out|discard\w*|reject\w*) {OBJECT}"),
        ("exclud", "eliminat", "rul", "discard", "reject"),
    ),
    (
        re.compile(  # "I do not think that it is B"
            r"\b(?:not (?:think|believe|say|agree)|doubt|unlikely|impossible)(?: that)?"
            r"(?: (?:it|this|that|the answer))?"
            rf"(?: (?:is|was|to be|(?:would|could|should|can) be))? {NEITHER}"
        ),
        ("not", "doubt", "unlikely", "impossible"),
    ),
    (
        re.compile(  # "A and B are wrong"
            rf"{SUBJECT}"
            r"(?: (?:is|are|was|were|seems|looks|(?:would|can|could|must) be)(?: all| both)?"
            r" (?:wrong|incorrect|false|eliminated|excluded|ruled out|out|impossible|unlikely"
            r"|invalid)\b"
            r"| ?[-:(] ?(?:incorrect|wrong)\b"
            r"|(?:,? which)? (?:is|are|was|were) not"
            r" (?:the )?(?:correct|right|answer|best|true|it)\b)"
        ),
        (),
    ),
)
"""(pattern, needles: see `matches`)."""
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
    for pattern, needles in _REJECTIONS:
        for found in matches(pattern, text, needles):
            at = found.start("named")
            loose = bool(found.groupdict().get("words"))
            for reference in references(found["named"]):
                by_text = re.match(f"[{T}{B}]", reference) and not _WRONG.search(found[0])
                weight = Weight.CLOSING if loose or by_text else Weight.EXPLICIT
                yield Statement(found.start(), at, found.end(), "", reference, weight)


_DENIED_AFTER = re.compile(
    rf"(?:,? (?:and|or|nor) [{R}])?"
    r" ?(?:(?:does|do|did) not (?:fit|match|work|apply|make|satisfy|correspond|agree|hold)\b"
    r"|(?:is|are|was|were|seems|would be|can not be) (?:not\b|incorrect|wrong|false|invalid"
    r"|eliminated|out\b|impossible|unlikely))"
    r"|,? (?:which|but (?:it|this|that)) is (?:incorrect|wrong|not (?:the )?(?:correct|right)\b)"
)


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
    r"|(?P<lacks>\b(?:lacks?|do(?:es)? not (?:contain|provide|include|give)) (?:an? |the |any )?"
    r"(?:\w+ )?(?:solution|answer|information)\b)"
    r"|\b(?:i|we) (?:can not|could not|am unable to|are unable to|will not) (?:\w+ )?"
    r"(?:provide|give|determine|answer|choose|select|solve|calculate)\b"
    r"|\b(?:can|could) not be (?:determined|answered|solved|calculated)\b"
)


_NONE_NEEDLES = ("none of ", "not ", "n't ", "no ", "without a", "lack", "unable to ")
_SAYS_ANSWER = re.compile(r"answer(?: \w+)?:? [\"'(]{0,2}\Z")


def refusals(text: str) -> Iterator[Statement]:
    """Finds "none of the options is right", "it cannot be determined"."""
    if not may_match(text, _NONE_NEEDLES):
        return
    for found in _NONE.finditer(text):
        says = _SAYS_ANSWER.search(text[max(0, found.start() - 20) : found.start()])
        weight = Weight.EXPLICIT if says else Weight.LOOSE
        if found["lacks"]:  # takes nothing back: "they do not provide information"
            weight = Weight.CLOSING
        yield Statement(found.start(), found.start(), found.end(), "refusal", OUTSIDE, weight)
