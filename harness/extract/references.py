"""Where a text names an option: each such place becomes one private character.

A reference is a letter that is used as a letter, an option's text, both ("B. Illinois"), a letter
outside the options, or a label with another option's text, which names nothing. The character
classes `L`, `T`, `B` and `R` are for the patterns of `rules`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_uppercase

from harness.extract.aligned import Aligned
from harness.extract.characters import is_normal, normal
from harness.extract.spelling import plain

SHORT_TEXT = 200
"""Characters up to which a text is taken for an answer without its working."""
MOST = 0x800  # options that can be told apart; data sets have five
LETTERS, _TEXT, _BOTH = 0xE000, 0xE800, 0xF000  # first character of each kind; add the index
OUTSIDE = "\uf8fe"  # a letter that is none of ours
CONFLICT = "\uf8ff"  # "B. Alabama" where Alabama is A

_letter, T, B = (f"{chr(kind)}-{chr(kind + MOST - 1)}" for kind in (LETTERS, _TEXT, _BOTH))
L = f"{_letter}{OUTSIDE}"
R = f"{L}{T}{B}{CONFLICT}"

_BETWEEN = "\uf8f7"
_OWN_LABEL = re.compile(r"\(?([A-Z])(?:[.:)\]]|\)[.:]) ?(?=\S)")
_PART = re.compile(r"\(?a[).:] ?\S")
_NUMERAL = r"\(?(?:I{1,3}|IV|VI{0,3}|IX|X)\)?"
_NUMERALS = rf"{_NUMERAL}(?:(?:,? ?(?:and|&) |, ?){_NUMERAL})*"
_ITEM = re.compile(r"[.)] \S")
_ROMAN_ONLY = re.compile(rf"(?:statements? )?({_NUMERALS}),? only\.?", re.IGNORECASE)
_ROMAN = re.compile(
    r"(\A|\b(?:answer|option|choice)s? ?(?:is|are|:)? ?[\"']?(?:statements? )?)"
    rf"({_NUMERALS})(?=[\"']?(?:[.,\n]|$))"
)
_NUMERIC = re.compile(
    r"[^\w\n]{0,3}\d[\d.,/\u00d7^:+-]*(?: ?[%\u00b0]?[A-Za-z\u03a9/^2-]{0,9}){0,2}"
)
_ARTICLE = re.compile(r"^(?:the|an?) (?=\S)", re.IGNORECASE)

# Options that are also ordinary words count only where they stand as an answer.
_PARTICLES = frozenset({"yes", "no", "none", "neither", "both", "all", "one", "zero"})
_PARTICLE_BEFORE = re.compile(
    r"(?:^|[\n.,;:!?\"'(\[>)-] ?"
    r"|\b(?:is|be|answer|say|so|but|therefore|thus|hence|choose|select|pick) )\Z"
)
_PARTICLE_AFTER = re.compile(
    r" ?(?:$|[\n.,;:!?\"')(\]<-]|[a-h][.:)]|is\b)"
    r"| (?:because|since|as|but|it|they|he|she|this|that|these|we|i|you)\b"
)

# What makes a place part of a longer word, number or name, before and after it.
_WORD_BEFORE, _WORD_AFTER = re.compile(r"(?:\w|\w[-'])\Z"), re.compile(r"\w|[-']\w")
_NUMBER_BEFORE, _NUMBER_AFTER = (
    re.compile(r"(?:\d[.,:/]|[-\u221a\u00d7\u00b7^])\Z"),
    re.compile(r"[.,:/]\d|[%\u00b0\u221a\u00d7\u00b7^]"),
)
# What makes a quantity or a symbol part of a formula, before and after it.
_TERM_BEFORE, _TERM_AFTER = (
    re.compile(r"(?:[*/^\u00d7\u00b7\u221a\u00f7]|[\w)] ?[-+]|\A[-+]) ?\Z"),
    re.compile(r" ?(?:[*^\u00d7\u00b7\u00f7\u2248<>]|=(?!>)|[-+] ?(?:\d|[\w(]{1,2}\b))|/ ?\w"),
)
_IN_WORDS = re.compile(r"[^\W\d_]{3}")
_NAME_BEFORE, _NAME_AFTER = (
    re.compile(r"\b(?:north|south|east|west|new) \Z"),
    re.compile(r" city\b"),
)

_GOES_ON = re.compile(r",| (?:and|or|nor|is|are)\b")
_NOT_APPLICABLE = re.compile(r"\bn ?/ ?a\b", re.IGNORECASE)

_LETTER_ALONE = re.compile(
    r"\b[A-Za-z](?![\w\u00b0&^+=]|[-']\w|\.\w(?![a-z]))(?<![\w\u00b0.\\^+-].)(?<!\w'.)"
)
_ENCLOSED_BEFORE, _ENCLOSED_AFTER = re.compile(r"[(\[{<\"'$]\Z"), re.compile(r"[)\]}>\"'$]")
_GLUED = re.compile(r"(\w+)[(\[{]\Z")
_JUDGED_AFTER = re.compile(
    r" (?:is|are|was) (?:also |not |the )?(?:correct|incorrect|true|false|wrong|right)\b"
)
_INTRODUCED = re.compile(
    r"\b(?:option|choice|letter|alternative|statement|selection)s? ?[:\"'(\[]{0,3}\Z", re.IGNORECASE
)
_LINE_LABEL = re.compile(r"(?:^|\n)[ (\[\"']*\Z")
_ANSWER_IS = re.compile(r"\b(?:answer|ans|option|choice)(?: is)?\W*\Z", re.IGNORECASE)
_COMMITTED = re.compile(
    r"\b(?:is|be|answer|ans|option|choice|choose|chose|pick|select|with|say|guess|think|therefore"
    r"|so) ?[:\"'(\[]{0,3} ?\Z",
    re.IGNORECASE,
)
_PARTS = re.compile(rf"a\) ?[^{T}][^\n]*\n?[^\n]*\bb\) ?[^{T}]")  # parts of a question
_LETTERS_BEFORE = re.compile(r"(?:\b[A-Z](?:, ?| ))+(?:(?:and|or|nor) )?\Z")
_WORD_BEFORE_SPACE = re.compile(r"([\w']+) [\"'(\[]{0,2}\Z")

# After these words a capital is a letter; after others it is part of a name (vitamin C, plan B).
_MAY_PRECEDE = re.compile(
    r"is|be|are|was|an?|answers?|ans|options?|choices?|letters?|alternative|statement|selection"
    r"|choose|chose|pick|picked|select|selected|prefer|mark|circle|with|say|guess|think|believe"
    r"|conclude|therefore|so|thus|hence|and|or|nor|but|not|never|neither|either|both|only|except"
    r"|that|than|between|actually|definitely|probably|likely|clearly|certainly|indeed|then|towards?"
    r"|to|for|of|as|by|out|eliminate|exclude|leaves|leaving|unlike|because|since|while|whereas|if"
    r"|whether|when|no|wait|meant?|correct|right|maybe|possibly|perhaps|rather"
)
# What follows a letter; anything else makes of A an article, and of another part of a name.
_MAY_FOLLOW = re.compile(
    rf"$|[\n\"')\]}}>]| ?(?!=(?!>| ?[{T}]))[^\w\s\"'(\[{{]| ?\(?[{R}]"
    r"| \(?[A-H](?!\w)| \((?!\w+\) \w)"
    r"| (?:because|since|as|for|and|or|nor|but|which|that|given|due|based|in|is|was|are|were|with"
    r"|it|this|these|from|where|who|when|if|on|at|by|than|rather|instead|while|whereas|has|have"
    r"|does|do|did|too|not|seems?|appears?|looks|fits|matches|shows?|makes|represents|cannot|can't"
    r"|isn't|doesn't|(?:can|could|will|would|must|may|might|should)(?: not)? be)\b"
)


@dataclass(frozen=True, slots=True)
class Options:
    """The choices, prepared for looking them up."""

    plain: tuple[str, ...]
    texts: Mapping[str, int]
    """What an option may be called, folded, without its closing punctuation or its article."""
    letters: Mapping[str, int]
    """Labels in both cases, and options whose whole text is a letter that labels no option."""
    roman: Mapping[tuple[str, ...], int]
    """(II,) for the option "II only"; counts only where it is said to be the answer."""
    numeric: frozenset[int]
    """Options that are numbers, with or without a unit: the working may well name those."""
    parted: bool
    """Options have parts, "a) 5 m b) 3 s": a small letter is a part's."""
    cased: bool
    """Some options differ only by case."""

    def fold(self, text: str) -> str:
        """The text as options are compared."""
        return _fold(text, cased=self.cased)

    def exact(self, text: str) -> int | None:
        """The option whose text this plain text is; None where it is an option's label."""
        name = self.fold(_bare(text)).replace("\n", " ")
        is_label = name.upper() in ascii_uppercase[: len(self.plain)]
        return None if is_label else self.texts.get(name)

    def all_in(self, text: str) -> bool:
        """Each of the choices is named in the plain text."""
        named = {index for _, _, index in _text_spans(text, self)}
        return 0 < len(self.plain) == len(named)


def prepare(choices: Sequence[str]) -> Options:
    """The choices as they are looked up in texts. Labels end at Z, and choices at `MOST`."""
    return _prepare(tuple(choices[:MOST]))


@lru_cache(maxsize=4096)  # one question's are looked up again and again
def _prepare(choices: tuple[str, ...]) -> Options:
    texts = _without_own_labels(_plain(choices))
    cased = len({text.lower() for text in texts}) < len(set(texts))
    bare = [_bare(text) for text in texts]
    named: dict[str, int] = {}
    for shorten in (str, _without_article, _without_label, _as_word, _as_digits):
        names = [_fold(shorten(text), cased=cased) for text in bare]
        count = Counter(names)
        # A name that two options could go by is nobody's; an option's full name is its own.
        named |= {n: i for i, n in enumerate(names) if n not in named and count[n] == 1}
    named.pop("", None)
    letters = {name: index for name, index in named.items() if _is_letter(name)}
    if not cased:
        letters |= {name.upper(): index for name, index in letters.items()}
    for index, label in enumerate(ascii_uppercase[: len(texts)]):
        letters |= {label: index, label.lower(): index}
    parted = any(_PART.match(text) for text in texts)
    numeric = frozenset(index for index, text in enumerate(texts) if _NUMERIC.fullmatch(text))
    return Options(tuple(texts), named, letters, _roman(texts, letters), numeric, parted, cased)


def _plain(choices: Sequence[str]) -> list[str]:
    """All of them at once: that takes a tenth of the time."""
    if not choices:
        return []
    between = f"\n{_BETWEEN}\n"
    texts = between.join(
        choice if is_normal(choice) else normal(Aligned.of(choice)).text for choice in choices
    )
    return [
        text.strip().replace("\n", " ") for text in plain(Aligned.of(texts)).text.split(_BETWEEN)
    ]


def _without_own_labels(texts: list[str]) -> list[str]:
    """The texts without the letters that they carry, where those are their labels."""
    labels = [_OWN_LABEL.match(text) for text in texts]
    if all(label and label[1] == ascii_uppercase[i] for i, label in enumerate(labels[:26])):
        return [
            text[label.end() :] if label else text
            for text, label in zip(texts, labels, strict=True)
        ]
    return texts


def _roman(texts: Sequence[str], letters: Mapping[str, int]) -> Mapping[tuple[str, ...], int]:
    """What options such as "II only" are called for short."""
    found = ((index, _ROMAN_ONLY.fullmatch(text)) for index, text in enumerate(texts))
    names = {_numerals(only[1]): index for index, only in found if only}
    return {name: index for name, index in names.items() if len(name) > 1 or name[0] not in letters}


def _numerals(text: str) -> tuple[str, ...]:
    return tuple(re.findall("[IVX]+", text.upper().replace("AND", "")))


def mark(text: Aligned, options: Options) -> Aligned:
    """The plain text with each letter and each option's text as one character of `L` or `T`."""
    edits: list[tuple[int, int, str]] = []
    for begin, end, index in _text_spans(text.text, options):
        edits.append((begin, end, chr(_TEXT + index)))
        # An option's own full stop ends no sentence in "this. or that.", nor does its own question
        # mark make a question of the answer.
        closing = text.text[end : end + 1]
        if closing and closing in ".!?" and options.plain[index].endswith(closing):
            goes_on = _GOES_ON.match(text.text, end + 1)
            edits.append((end, end + 1, "" if goes_on else "."))
    marked = text.edited(edits)
    if "/" in marked.text:
        marked = marked.sub(_NOT_APPLICABLE, "not-applicable")
    if options.roman:
        marked = marked.sub(_ROMAN, lambda found: _roman_mark(found, options))
    return marked.sub(_LETTER_ALONE, lambda found: _letter_mark(found, options))


def _roman_mark(found: re.Match[str], options: Options) -> str:
    index = options.roman.get(_numerals(found[2]))
    return found[0] if index is None else f"{found[1]}{chr(_TEXT + index)}"


def index_of(reference: str) -> int:
    """The option that a character of `L`, `T` or `B` names; not for `OUTSIDE` and `CONFLICT`."""
    return (ord(reference) - LETTERS) % MOST


def both(letter: str, text: str) -> str:
    """One character for a letter and its own text; "" where they are not the same option."""
    if letter == OUTSIDE or index_of(letter) != index_of(text):
        return ""
    return chr(_BOTH + index_of(letter))


def references(text: str) -> str:
    """Every reference of a marked text, in order."""
    return "".join(re.findall(f"[{R}]", text))


def option_of(named: str) -> int | str:
    """The one option that all these references name, or the reason why they name none."""
    if CONFLICT in named:
        return "letter and text disagree"
    labels = {ref if ref == OUTSIDE else index_of(ref) for ref in re.findall(f"[{L}{B}]", named)}
    texts = {index_of(ref) for ref in re.findall(f"[{T}{B}]", named)}
    if len(labels) > 1:
        return "two letters"
    if OUTSIDE in labels:
        return "letter outside the options"
    if len(labels | texts) > 1:
        return "letter and text disagree" if labels else "two options"
    return index_of(named[0]) if named else "nothing recognised"


def _fold(text: str, *, cased: bool) -> str:
    """As long as the text, so that places agree."""
    folded = text if cased else text.lower()
    if len(folded) == len(text):
        return folded
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _bare(text: str) -> str:
    return text.strip(" \n\"'").rstrip(".!?,;: ")


def _without_article(text: str) -> str:
    return _ARTICLE.sub("", text)


def _without_label(text: str) -> str:
    """Without the letter that an option's own text begins with: "(A) The price" is "The price"."""
    return _bare(_OWN_LABEL.sub("", text))


def _as_word(text: str) -> str:
    return {"1": "one", "0": "zero"}.get(text, "")


def _as_digits(text: str) -> str:
    return {"one": "1", "zero": "0"}.get(text.lower(), "")


def _is_letter(text: str) -> bool:
    return len(text) == 1 and text.isascii() and text.isalpha()


def _text_spans(text: str, options: Options) -> list[tuple[int, int, int]]:
    """(start, end, index) of each option's text; of two that overlap the first, the longest."""
    folded = options.fold(text)
    one_line = folded.replace("\n", " ")  # an option of several words may go over a line break
    spans = []
    for name, index in options.texts.items():
        if _is_letter(name):
            continue
        stands = _stands_as_answer if name.lower() in _PARTICLES else _stands_alone
        searched = one_line if " " in name else folded
        numbers = name.isdigit() and len(name) < 3
        at = searched.find(name)
        while at >= 0:
            end = at + len(name)
            if stands(folded, at, end) and not (numbers and _is_list_number(folded, at, end)):
                spans.append((at, end, index))
            at = searched.find(name, at + 1)
    spans.sort(key=lambda span: (span[0], -span[1]))
    kept: list[tuple[int, int, int]] = []
    for span in spans:
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept


def _is_list_number(text: str, begin: int, end: int) -> bool:
    """True where a number counts the items of a list: "2. Divide both sides"."""
    if text[begin - 1 : begin].strip(" ") not in ("", "\n") or not _ITEM.match(text, end):
        return False
    number = int(text[begin:end])
    return any(f"{near}{text[end]} " in text for near in (number - 1, number + 1))


def _stands_alone(text: str, begin: int, end: int) -> bool:
    """True where this place of a folded text is a name of its own.

    It is not where it is part of a longer word (arid in semi-arid), number (5 in 1.5), possessive
    or name (Virginia in West Virginia, even where that is no option).
    """
    before, after = text[max(0, begin - 8) : begin], text[end : end + 8]
    first, last = text[begin], text[end - 1]
    return not (
        (_is_of_a_word(first) and _WORD_BEFORE.search(before))
        or (_is_of_a_word(last) and _WORD_AFTER.match(after))
        or (first.isdigit() and _NUMBER_BEFORE.search(before))
        or (last.isdigit() and _NUMBER_AFTER.match(after))
        or _NAME_BEFORE.search(before.lower())
        or _NAME_AFTER.match(after.lower())
        or (
            not _IN_WORDS.search(text, begin, end)
            and (_TERM_BEFORE.search(before) or _TERM_AFTER.match(after))
        )
    )


def _is_of_a_word(character: str) -> bool:
    """True where words are set apart by spaces; Chinese and Japanese are written without."""
    return character.isalnum() and not "\u3040" <= character <= "\u9fff"


def _stands_as_answer(text: str, begin: int, end: int) -> bool:
    """True where this particle (yes, no, both ...) is an answer, not a word of a sentence."""
    before, after = text[max(0, begin - 12) : begin].lower(), text[end : end + 12].lower()
    alone = _stands_alone(text, begin, end)
    return bool(alone and _PARTICLE_BEFORE.search(before) and _PARTICLE_AFTER.match(after))


def _letter_mark(found: re.Match[str], options: Options) -> str:
    """The character for a letter that stands alone; the letter itself where it is only a word."""
    letter, at = found[0], found.start()
    index = options.letters.get(letter)
    before, after = found.string[max(0, at - 40) : at], found.string[at + 1 : at + 24]
    if index is None and letter not in "ABCDEFGHabcdefgh":
        return letter
    if letter.islower() and options.parted:
        return letter
    if letter == "a" and _PARTS.match(found.string, at):
        return letter
    used = _is_used(letter, before, after, length=len(found.string))
    if not used or _is_article(letter, after, options):
        return letter
    return OUTSIDE if index is None else chr(LETTERS + index)


def _is_used(letter: str, before: str, after: str, *, length: int) -> bool:
    """True where a letter is used as a letter, going by what stands around it."""
    if letter.islower() and length > SHORT_TEXT:
        # Of a longer text it is a variable, or the label of a part of the question.
        return bool(_ANSWER_IS.search(before) and _MAY_FOLLOW.match(after))
    if glued := _GLUED.search(before):  # copper(I), P(A); not "is(B)"
        return bool(_MAY_PRECEDE.fullmatch(glued[1].lower()))
    if before[-1:] == "(" and _JUDGED_AFTER.match(after):
        return True
    enclosed = _ENCLOSED_BEFORE.search(before) and _ENCLOSED_AFTER.match(after)
    if enclosed and (letter.isupper() or before[-1] in "(["):
        return True
    followed = _MAY_FOLLOW.match(after) is not None
    if _INTRODUCED.search(before):
        return followed or letter != "a"
    if letter.islower():
        return _is_used_in_lower_case(letter, before, after)
    if letter == "I":  # not the pronoun, and not where a text stops at one
        begun = after or _COMMITTED.search(before) or _LINE_LABEL.search(before)
        followed = followed and bool(begun) and not after.startswith(" ")
    # The B of "A and B" is what the A is: a label, or a point of a figure ("points A and B").
    word = _WORD_BEFORE_SPACE.search(_LETTERS_BEFORE.sub("", before))
    may_follow = word is None or "'" in word[1] or _MAY_PRECEDE.fullmatch(word[1].lower())
    return followed and bool(may_follow)


def _is_used_in_lower_case(letter: str, before: str, after: str) -> bool:
    """Only as the label of a line or in a phrase that commits, and not the article of "it is a",
    where the text was cut off, or of "the answer is a B"."""
    if _LINE_LABEL.search(before) and (not after or after[0] in ".:)\n"):
        return True
    article = re.match(r" [A-H]\b", after) or (
        letter == "a" and not after and not _ANSWER_IS.search(before)
    )
    return bool(_COMMITTED.search(before) and _MAY_FOLLOW.match(after) and not article)


def _is_article(letter: str, after: str, options: Options) -> bool:
    """True for the A of "A brick", where brick is another option and no proper name."""
    named = re.match(rf" ([{T}])", after)
    if letter not in "Aa" or named is None:
        return False
    index = index_of(named[1])
    return index != options.letters.get(letter) and not options.plain[index][:1].isupper()
