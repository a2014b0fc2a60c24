"""A marked text in plain English: contractions spelled out, adverbs and introductions dropped,
labels joined to their texts, lists of all the options cut, sentences apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.extract.aligned import Aligned, Replacement, joined
from harness.extract.needles import may_match
from harness.extract.references import (
    CONFLICT,
    LETTERS,
    OUTSIDE,
    B,
    L,
    Options,
    R,
    T,
    both,
    index_of,
    mark,
    references,
)
from harness.extract.spelling import BOX
from harness.extract.transcript import sentences as split_sentences

_ADVERBS = (
    *("likely", "probably", "definitely", "clearly", "certainly", "surely", "actually", "indeed"),
    *("simply", "really", "just", "obviously", "in fact", "of course", "still", "approximately"),
    "roughly",
)
_ADVERB = (
    r"\b(?<!\bthe )(?<!\bthe most )(?:(?:most|very|quite|more) )?"
    rf"(?:{'|'.join(_ADVERBS)})\b,? ?"
)
_LABEL_NOUNS = ("option", "choice", "letter", "alternative", "statement", "selection")
_INTRODUCTION = (  # "option (B)" is "B"; "the correct option B" stays, for what it says
    r"\b(?<!correct )(?<!right )(?<!best )(?<!final )(?:the )?(?:answer )?(?:options?|choices?"
    r"|letters?|alternative|statement|selection)(?: letter)? ?"
    rf"(?=[\"'(\[{{]{{0,2}}[{L}])"
)
_REWRITES: tuple[tuple[tuple[str, ...], re.Pattern[str], Replacement], ...] = tuple(
    (needles, re.compile(pattern), replacement)
    for needles, pattern, replacement in (
        (("\u2192",), r"\u2192", ":"),
        ((), rf"[^\w\s!-~{R}{BOX}]", ""),  # symbols that no rule knows
        (("can't", "cannot"), r"\b(?:can't|cannot)\b", "can not"),
        (("won't",), r"\bwon't\b", "will not"),
        (("n't",), r"n't\b", " not"),
        (
            ("'s",),
            r"\b(it|that|this|what|here|there|answer|choice|option|guess)'s\b",
            lambda found: f"{found[1]} is",
        ),
        (("'d",), r"'d\b", " would"),
        (("'ll",), r"'ll\b", " will"),
        (("'m",), r"'m\b", " am"),
        (("'re",), r"'re\b", " are"),
        ((" other", "another"), r" (?:each other|one another)\b", ""),
        (_ADVERBS, _ADVERB, ""),
        (_LABEL_NOUNS, _INTRODUCTION, ""),
    )
)
"""(needles, see `may_match`; what is rewritten; by what)."""
STOPS = (  # what ends a commitment; not the comma of "So Alabama, being east, ..."
    r"(?= ?(?:[.!;)<}\n]|$|-"
    r"|,? (?:because|since|as|given|due|not|and not|rather|instead|which|though"
    r"|although|but|while)\b))"
)
_TEXT_THEN_LETTER = re.compile(
    rf"[{T}](?: ?[(\[][{L}][)\]](?! ?[{T}])"
    rf"|(?<!not .),(?: (?:which|that) (?:is|matches|corresponds to))? [{L}]"
    rf"(?!\. ?[{T}]){STOPS})"
)
_QUOTING = re.compile(rf"[\"'(\[{{<$]{{1,4}} ?(?=[{R}])|(?<=[{R}]) ?[\"')\]}}>$]{{1,4}}")
_QUOTES = "\"'()[]{}<>$"
_LETTER_THEN_TEXT = re.compile(
    rf"([{L}])(?P<between> ?[.:,-]? ?(?:the |an? )?|,? (?:which|that) is (?:the )?)([{T}])"
    rf"(?P<stops>{STOPS}|(?=,))?"
)
_SPEAKER = re.compile(rf"\A{chr(LETTERS)} ?: ?(?=\w+ [\w{R}])")  # "A: It is green."
_LINE_LABEL = re.compile(rf"^ ?[{L}{B}]", re.MULTILINE)
_LABELLED_LIST = re.compile(rf"[{B}](?:[ ,;.|/\n-]{{0,4}}(?:(?:and|or) )?[{B}])+")
_PLAIN_LIST = re.compile(
    rf"[{T}](?<!not .)(?<!neither .)(?: ?[,/|;]? ?(?:(?:and|or) )?(?:the |an? )?[{T}])+"
)
SUBJECT = (  # "A, B and C", but only the B of "not A, B is right"
    rf"(?P<named>[{R}](?:(?:, (?:the |an? )?[{R}]){{0,30}}+,? (?:and|or) (?:the |an? )?[{R}])?+)"
)
_SUPPOSING = ("whether ", "if ", "although ", "though ")
_HYPOTHETICAL = re.compile(rf"\b(?:{'|'.join(_SUPPOSING)})(?:\w+ ){{0,5}}?{SUBJECT}")
_TAG_QUESTION = re.compile(r", ?(?:right|correct|ok|okay|no|is it not|is not it)\?")
_ONLY_NAMES = re.compile(
    rf"[ \"'(\[|:,>=-]*+(?:(?:the|an?|only) )?[{R}](?:[ ,/&+|(]{{0,3}}(?:and|or|the|an?)? ?[{R}])*+"
    r"[ .!,|)\"'?-]*+"
)


@dataclass(frozen=True, slots=True)
class English:
    """A piece of an answer as the rules read it."""

    text: Aligned
    """Its sentences, one a line, without questions."""
    sentences: tuple[Aligned, ...]
    """The same, apart; one that is empty where there is none."""
    lists: bool
    """It listed all the options; that is cut."""


def in_plain_english(text: Aligned, options: Options) -> English:
    """A plain text (see `spelling.plain`) as the rules read it."""
    marked = mark(text, options).lower()
    for needles, pattern, replacement in _REWRITES:
        if may_match(marked.text, needles):
            marked = marked.sub(pattern, replacement)
    marked = marked.sub(_TEXT_THEN_LETTER, _named_twice)
    if may_match(marked.text, _QUOTES):
        marked = marked.sub(_QUOTING, "")
    marked = marked.sub(_LETTER_THEN_TEXT, _labelled)
    if _SPEAKER.match(marked.text) and not _LINE_LABEL.search(marked.text, 1):
        marked = marked.sub(_SPEAKER, "")
    without_lists = _without_lists(marked, len(options.plain))
    lists = without_lists.text != marked.text
    marked = without_lists
    if may_match(marked.text, _SUPPOSING):
        marked = marked.sub(_HYPOTHETICAL, "")
    marked = marked.sub(_TAG_QUESTION, ".").stripped()
    said = _statements(marked)
    return English(joined(said), tuple(said), lists)


def _named_twice(found: re.Match[str]) -> str:
    """One reference for "Illinois (B)" and "Illinois, which is option B"."""
    text, letter = references(found[0])[0], references(found[0])[1]
    return both(letter, text) or CONFLICT


def _labelled(found: re.Match[str]) -> str:
    """One reference for "B. Illinois"; a conflict where the label is another option's.

    It is none where a sentence only begins: "B. Alabama is farther east".
    """
    letter, text, between = found[1], found[3], found["between"].strip()
    if letter == OUTSIDE:
        return OUTSIDE
    if one := both(letter, text):
        return one
    labels = not between or (between != "," and found["stops"] is not None)
    return CONFLICT if labels else found[0]


def _without_lists(text: Aligned, count: int) -> Aligned:
    """The text without the places that repeat every option: labelled and in order, or plain."""
    if count < 2:
        return text
    kept = text.sub(_LABELLED_LIST, lambda run: _without_list(run[0], count, in_order=True))
    return kept.sub(_PLAIN_LIST, lambda run: _without_list(run[0], count, in_order=False))


def _without_list(run: str, count: int, *, in_order: bool) -> str:
    places = [found.start() for found in re.finditer(f"[{R}]", run)]
    indices = [index_of(run[place]) for place in places]
    pieces, start, first = [], 0, 0
    while first + count <= len(places):
        listed = indices[first : first + count]
        if listed == list(range(count)) or (not in_order and len(set(listed)) == count):
            pieces.append(run[start : places[first]])
            start = places[first + count - 1] + 1
            first += count
        else:
            first += 1
    return "\n".join([*pieces, run[start:]])


def _statements(text: Aligned) -> list[Aligned]:
    """The sentences that say something. A question commits to nothing, a lone "B?" apart."""
    said = [s.stripped() for s in split_sentences(text) if s.text.strip(" .!?\n\"'")]
    if not said:
        return [text[:0]]
    if len(said) == 1 and _ONLY_NAMES.fullmatch(said[0].text):
        return said
    return [s for s in said if not s.text.endswith("?")] or [text[:0]]
