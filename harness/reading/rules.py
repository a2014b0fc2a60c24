"""The rules: short patterns over a marked text in plain English, each for one way of answering.

`read_prose` tries them in the order of the table at the top of the package. A pattern either names
options (the group `named`) or rejects them; `references.option_of` turns what is named into one
option or into the reason why it is none. No pattern has an unbounded part that could be tried
again from every place: hostile texts cost no more than others of their length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.reading.references import (
    CONFLICT,
    OUTSIDE,
    B,
    L,
    Options,
    R,
    T,
    both,
    index_of,
    mark,
    option_of,
    plain,
    references,
)
from harness.reading.transcript import sentences as split_sentences
from harness.types import Reading


class _Claim(NamedTuple):
    """A phrase that commits to what it names or, where `rule` is empty, rejects it."""

    at: int
    rule: str
    named: str


_RANK = {"closing phrase": 0, "answer phrase": 1, "verdict": 1, "": 2}
"""Of claims at one place the last counts: "so the answer is B"; "not that B is right"."""


def read_prose(text: str, options: Options, *, committed_only: bool = False) -> Reading:
    """Reads one piece of clean text without tags.

    With `committed_only` only phrases that commit count, not what merely stands in the text.
    """
    if (exact := options.exact(text)) is not None:
        return Reading(exact, "option text")
    marked, lists = _canonical(text, options)
    sentences = _statements(marked)
    marked = "\n".join(sentences)
    rejections = list(_rejections(marked))
    claims = [*_answer_phrases(marked), *_closing_phrases(marked), *_verdicts(marked), *rejections]
    committed = _last_commitment(sorted(claims, key=lambda claim: (claim.at, _RANK[claim.rule])))
    if committed or committed_only:
        return committed or Reading(None, "nothing recognised")
    rejected = {option for claim in rejections if isinstance(option := option_of(claim.named), int)}
    rejected |= {index_of(letter) for letter in _DENIED_LETTER.findall(marked)}
    if (closing := _closing_sentence(sentences)) is not None:
        return _reading(closing, "closing phrase")
    for rule, find in (("leading letter", _leading_letter), ("closing letter", _closing_letter)):
        if (labelled := find(sentences, rejected)) is not None:
            return _reading(labelled, rule)
    if _REFUSAL.search(marked):
        return Reading(None, "refusal")
    if (only := _only_text(sentences, rejected)) is not None:
        return _reading(only, "option text")
    if rejected:
        return Reading(None, "rejected")
    return Reading(None, "echo of the options" if lists else "nothing recognised")


def _reading(option: int | str, rule: str) -> Reading:
    return Reading(option, rule) if isinstance(option, int) else Reading(None, option)


# Plain English: contractions spelled out, adverbs and introductions dropped, labels joined to
# their texts, lists of all the options cut.

_ADVERB = (
    r"\b(?:(?:most|very|quite|more) )?(?:likely|probably|definitely|clearly|certainly|surely"
    r"|actually|indeed|simply|really|just|obviously|in fact|of course|also|still)\b,? ?"
)
_INTRODUCTION = (  # "option (B)" is "B"; "the correct option B" stays, for what it says
    r"(?<!correct )(?<!right )(?<!best )(?<!final )\b(?:the )?(?:options?|choices?|letters?"
    rf"|alternative|statement|selection)(?: letter)? ?(?=[\"'(\[{{]{{0,2}}[{L}])"
)
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (rf"[^\w\s!-~{R}]", ""),  # symbols that no rule knows
        (r"\b(?:can't|cannot)\b", "can not"),
        (r"\bwon't\b", "will not"),
        (r"n't\b", " not"),
        (r"\b(it|that|this|what|here|there|answer|choice|option|guess)'s\b", r"\1 is"),
        (r"'d\b", " would"),
        (r"'ll\b", " will"),
        (r"'m\b", " am"),
        (r"'re\b", " are"),
        (r" (?:each other|one another)\b", ""),
        (_ADVERB, ""),
        (_INTRODUCTION, ""),
    )
)
_STOPS = (  # what ends a commitment; not the comma of "So Alabama, being east, ..."
    r"(?= ?(?:[.!;)<\n]|$|-"
    r"|,? (?:because|since|as|given|due|not|and not|rather|instead|which)\b))"
)
_TEXT_THEN_LETTER = re.compile(
    rf"([{T}]) ?[(\[]([{L}])[)\]](?! ?[{T}])"
    rf"|(?<!not )([{T}]),(?: (?:which|that) (?:is|matches|corresponds to))? ([{L}])"
    rf"(?!\. ?[{T}]){_STOPS}"
)
_QUOTING = re.compile(rf"[\"'(\[{{<$]{{1,4}} ?(?=[{R}])|(?<=[{R}]) ?[\"')\]}}>$]{{1,4}}")
_LETTER_THEN_TEXT = re.compile(
    rf"([{L}])(?P<between> ?[.:,-]? ?(?:the |an? )?|,? (?:which|that) is (?:the )?)([{T}])"
    rf"(?P<stops>{_STOPS}|(?=,))?"
)
_LABELLED_LIST = re.compile(rf"[{B}](?:[ ,;.|/\n-]{{0,4}}(?:(?:and|or) )?[{B}])+")
_PLAIN_LIST = re.compile(
    rf"(?<!not )(?<!neither )[{T}](?: ?[,/|;]? ?(?:(?:and|or) )?(?:the |an? )?[{T}])+"
)


def _canonical(text: str, options: Options) -> tuple[str, bool]:
    """The marked text in lower case and plain words, and whether it listed all the options."""
    text = mark(plain(text), options).lower()
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _TEXT_THEN_LETTER.sub(_named_twice, text)
    text = _QUOTING.sub("", text)
    text = _LETTER_THEN_TEXT.sub(_labelled, text)
    text, lists = _without_lists(text, len(options.plain))
    return _TAG_QUESTION.sub(".", _HYPOTHETICAL.sub("", text)).strip(), lists


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


def _without_lists(text: str, count: int) -> tuple[str, bool]:
    """The text without the places that repeat every option: labelled and in order, or plain."""
    if count < 2:
        return text, False
    kept = _LABELLED_LIST.sub(lambda run: _without_list(run[0], count, in_order=True), text)
    kept = _PLAIN_LIST.sub(lambda run: _without_list(run[0], count, in_order=False), kept)
    return kept, kept != text


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


# Groups of references. They are bounded and possessive.

_JOIN = r" ?[,/&+|(]? ?(?:(?:and/or|and|or|plus) )?(?:(?:the|an?|both|maybe|possibly|perhaps) )?"
_VERBS = r"(?:is|are|was|were|would|has|have|does|do|did|can|could|will|shows|seems|looks|being)"
_OBJECT = rf"(?P<named>[{R}](?:{_JOIN}[{R}](?! {_VERBS}\b)){{0,30}}+)"
_SUBJECT = (  # "A, B and C", but only the B of "not A, B is right"
    rf"(?P<named>[{R}](?:(?:, (?:the |an? )?[{R}]){{0,30}}+,? (?:and|or) (?:the |an? )?[{R}])?+)"
)
_NEITHER = (
    rf"(?:the |an? )?(?P<named>[{R}]"
    rf"(?:(?:, |,? (?:or|nor) )(?:the |an? )?[{R}](?! {_VERBS}\b)){{0,30}}+)"
)

# Sentences. A question commits to nothing, "B, right?" and a lone "B?" apart.

_HYPOTHETICAL = re.compile(rf"\b(?:whether|if|although|though) (?:\w+ ){{0,5}}?{_SUBJECT}")
_TAG_QUESTION = re.compile(r", ?(?:right|correct|ok|okay|no|is it not|is not it)\?")
_ONLY = re.compile(
    rf"[ \"'(\[|:,>=-]*+(?:(?:the|an?|only) )?{_OBJECT}[ .!,|)\"'-]*+"
    r"(?:(?:because|since|due to|given) [^\n]*)?"
)


def _statements(text: str) -> list[str]:
    """The sentences that say something, without questions; [""] where there is none."""
    said = [s.strip() for s in split_sentences(text) if s.strip(" .!?\n\"'")] or [""]
    if len(said) == 1 and _ONLY.fullmatch(said[0].rstrip("?")):
        return said
    return [s for s in said if not s.endswith("?")] or [""]


# Phrases that commit, and phrases that reject.

_HEAD = re.compile(
    r"\b(?:answers?|ans|(?:correct|right|best|final|true|appropriate|suitable|accurate|selected"
    r"|chosen|my|likely) (?:one|choice|option|response|letter|statement|selection|pick|guess"
    r"|alternative|conclusion))\b"
    r"|\b(?:conclusion|correction|correct|choice|option|verdict)(?= ?[:=])"
)
_SEEKING = re.compile(  # "to answer", "to find the answer": nothing is said to be the answer yet
    r"(?:\bto|\b(?:find|finding|determine|determining|identify|know|reach|deduce)(?: the| an)?"
    r"(?: correct| right| best)?) \Z"
)
_COPULA = re.compile(
    r"(?P<gap>[^.!?;:=\n]{0,100}?)"
    r"(?: ?[:=]"
    r"|\b(?:is|are|was|remains|(?:would|should|must|will|has to|seems to|appears to) be)\b)"
)
_FILLER = re.compile(
    r"[ \n:=>\"'(,-]*+(?:(?:the|an?|that|it|this|to|be|is|correct|right|best|answer|option|choice"
    r"|letter|one|given|by|as|follows|only|either|both|in|labell?ed|marked)\b[ \n:=>\"'(,-]*+){0,8}"
)
_NAMED = re.compile(_OBJECT)
_NAMED_AT_ONCE = re.compile(rf"[ \n:=>-]{{0,4}}{_OBJECT}{_STOPS}")
_ASIDE = re.compile(
    r"[.!?;\n]|\b(?:because|since|as|which|while|whereas|but|than|compared|not|rather|instead"
    r"|unlike|so|where|when|if)\b"
)


def _answer_phrases(text: str) -> Iterator[_Claim]:
    """Finds "the answer is B", "Answer: B", "the correct option would be (B)".

    It names the option that stands right there, or the only text of one in what is said to be the
    answer.
    """
    for head in _HEAD.finditer(text):
        if _SEEKING.search(text[max(0, head.start() - 40) : head.start()]):
            continue
        tail = text[head.end() : head.end() + 300]
        copula = _COPULA.match(tail)
        if copula is None:
            if found := _NAMED_AT_ONCE.match(tail):
                yield _Claim(head.end() + found.start("named"), "answer phrase", found["named"])
            continue
        filler = _FILLER.match(tail, copula.end())
        start = filler.end() if filler else copula.end()
        if found := _NAMED.match(tail, start):
            yield _Claim(head.end() + start, "answer phrase", found["named"])
        elif not references(copula["gap"]):
            named = references(_ASIDE.split(tail[start:], maxsplit=1)[0])
            if re.search(f"[{T}{B}]", named) and option_of(named) != "two options":
                yield _Claim(head.end() + start, "answer phrase", named)


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
    r"|(?:go|going|went) with|lean(?:ing)? towards?"
    r"|(?:this|it|that) (?:matches|corresponds to|fits)"
)
_CLOSING = re.compile(
    rf"\b(?:{_THEREFORE}|{_CHOOSE}|(?:it is|(?:must|has to|should|would|gotta) be)(?= [{L}{B}]))"
    rf":? (?:only )?(?:the |an? )?{_OBJECT}{_STOPS}"
)
_LAST_SENTENCE = re.compile(
    rf"(?:it|this|that) (?:is|must be|would be) (?:the |an? )?{_OBJECT}{_STOPS}"
    r"|(?P<so>so|therefore|thus|hence|consequently|accordingly|in (?:conclusion|summary|short)"
    r"|overall|as a result|based on|among|of (?:these|the))\b"
)
_LETTER_IS_SUBJECT = re.compile(rf"(?:,|\b(?:so|therefore|thus|hence|that)) [{L}]")
_AT_THE_END = re.compile(rf"[{R}]{_STOPS}")


def _closing_phrases(text: str) -> Iterator[_Claim]:
    """Finds "so D.", "I think it is C", and a last sentence "Therefore, the magnets repel"."""
    for found in _CLOSING.finditer(text):
        yield _Claim(found.start("named"), "closing phrase", found["named"])
    start = text.rfind("\n") + 1
    if last := _LAST_SENTENCE.match(text, start):
        named = last["named"] or _only_named(text[start:])
        places = [found.start() for found in _AT_THE_END.finditer(text, start)]
        if named and places:
            yield _Claim(places[-1], "closing phrase", named)


def _closing_sentence(sentences: Sequence[str]) -> int | str | None:
    """The only option of a last sentence such as "Based on the map, Illinois is farthest west"."""
    last = _LAST_SENTENCE.match(sentences[-1])
    named = _only_named(sentences[-1]) if last and last["so"] else ""
    if re.search(f"[{T}{B}]", named) or (named and _LETTER_IS_SUBJECT.search(sentences[-1])):
        return option_of(named)
    return None


def _only_named(sentence: str) -> str:
    """The references of a sentence that are not rejected, where they name one option, or ""."""
    rejected = "".join(claim.named for claim in _rejections(sentence))
    named = "".join(reference for reference in references(sentence) if reference not in rejected)
    return named if isinstance(option_of(named), int) else ""


_GOOD = (
    r"(?:answer\b|(?:correct|right|accurate|appropriate|true|best)(?= ?(?:[.,;!)\n]|$)| (?:because"
    r"|since|as|and|answer|choice|option|one|response|statement|letter|description|based|given|for"
    r"|here)\b))"
)
_VERDICT = re.compile(
    rf"(?<!neither )(?<!nor ){_SUBJECT}"
    r"(?:,? (?:is|are|was|(?:would|should|must|has to) be)"
    rf"(?: all| both)?(?: the| my| our)?(?: only| most| single| one)? {_GOOD}"
    rf"|,? it is{_STOPS}| ?[-:(] ?correct\b| makes (?:the )?most sense\b"
    r"|(?: \w+){0,4} fits best\b)"
)


def _verdicts(text: str) -> Iterator[_Claim]:
    """Finds "B is correct"."""
    for found in _VERDICT.finditer(text):
        yield _Claim(found.start("named"), "verdict", found["named"])


_REJECTIONS = (
    re.compile(  # "not A", "neither A nor B", "B rather than A"
        r"\b(?:not|never|neither|nor|rather than|instead of|unlike|except|other than|as opposed to"
        r"|doubt|unlikely) (?!only\b)"
        rf"(?:(?!(?:but|it|is|so|because|since|and|that|we|i)\b)\w+ ){{0,3}}{_NEITHER}"
    ),
    re.compile(rf"\b(?:exclud\w+|eliminat\w+|rul\w+ out|discard\w*|reject\w*) {_OBJECT}"),
    re.compile(  # "I do not think that it is B"
        r"\b(?:not (?:think|believe|say|agree)|doubt|unlikely|impossible)(?: that)?"
        r"(?: (?:it|this|that|the answer))?(?: (?:is|was|to be|(?:would|could|should|can) be))? "
        f"{_NEITHER}"
    ),
    re.compile(  # "A and B are wrong"
        rf"{_SUBJECT}"
        r"(?: (?:is|are|was|were|seems|looks|(?:would|can|could|must) be)(?: all| both)?"
        r" (?:wrong|incorrect|false|eliminated|excluded|ruled out|out|impossible|unlikely|invalid"
        r")\b"
        r"| ?[-:(] ?(?:incorrect|wrong)\b"
        r"| (?:is|are|was|were) not (?:the )?(?:correct|right|answer|best|true|it)\b)"
    ),
)
# What is said not to be so is no answer, though it may yet be one: "Illinois is not on the coast".
_DENIED = r"(?= (?:is|are|was|were|do|does|did|can|could|will|would|has|have) not\b)"
_DENIED_LETTER = re.compile(rf"[{L}{B}]{_DENIED}")
_DENIED_TEXT = re.compile(rf"[{T}{B}]{_DENIED}")


def _rejections(text: str) -> Iterator[_Claim]:
    """Finds "not A", "A and B are wrong", "B rather than A": one rejection for each option."""
    for pattern in _REJECTIONS:
        for found in pattern.finditer(text):
            for reference in references(found["named"]):
                yield _Claim(found.start("named"), "", reference)


def _last_commitment(claims: Sequence[_Claim]) -> Reading | None:
    """What the last claim commits to, unless its option was rejected afterwards; None without."""
    reading: Reading | None = None
    for claim in claims:
        option = option_of(claim.named)
        if claim.rule:
            reading = _reading(option, claim.rule)
        elif reading is not None and reading.answer == option:
            reading = Reading(None, "rejected")
    return reading


# Letters and texts without a phrase.

_LABEL = re.compile(f"[{L}{B}{CONFLICT}]")
_LEADING = re.compile(
    rf"[ \"'(\[|:.,>=-]{{0,8}}(?:(?:the|only) )?(?=[{L}{B}{CONFLICT}]){_OBJECT}"
    rf"(?P<verb> {_VERBS}\b)?"
)
_LAST_PART = re.compile(r"[,:;-] ?|\b(?:is|are) ")
_REFUSAL = re.compile(
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


def _labels(text: str) -> set[int]:
    """The options whose letters are in the text."""
    return {index_of(letter) for letter in re.findall(f"[{L}{B}]", text) if letter != OUTSIDE}


def _leading_letter(sentences: Sequence[str], rejected: set[int]) -> int | str | None:
    """The option whose letter the text starts with, or why that is no commitment.

    It may be compared ("A is farther west than B"), begin a list ("A: ... B: ...") or be
    contradicted by another letter at the end.
    """
    leading = _LEADING.match(sentences[0])
    if leading is None or _labels(leading["named"]) & rejected:
        return None
    option = option_of(leading["named"])
    if isinstance(option, str):
        return option
    rest = sentences[0][leading.end() :]
    if _REFUSAL.search(rest):
        return "refusal"
    rivals = _labels(rest) if leading["verb"] or re.match(f" ?[:-] ?[{L}]", rest) else set()
    alone = _ONLY.fullmatch(sentences[0])
    for sentence in sentences[1:]:
        if later := _LEADING.match(sentence):
            only = _ONLY.fullmatch(sentence)
            goes_on = option == 0 and _labels(later["named"]) == {1} and (only or not alone)
            if leading["verb"] or goes_on or (only and sentence is sentences[-1]):
                rivals |= _labels(later["named"])
    return "two letters" if rivals - rejected - {option} else option


def _closing_letter(sentences: Sequence[str], rejected: set[int]) -> int | str | None:
    """The option whose letter is the last sentence.

    Or its last part, where no other letter is named: "A and B are wrong, C".
    """
    last_part = _LAST_PART.split(sentences[-1])[-1]
    only = _ONLY.fullmatch(last_part)
    if only is None or not _LABEL.match(only["named"]) or _labels(only["named"]) & rejected:
        return None
    if last_part != sentences[-1] and len(_labels("".join(sentences)) - rejected) > 1:
        return "two letters"
    return option_of(only["named"])


def _only_text(sentences: Sequence[str], rejected: set[int]) -> int | str | None:
    """The option whose text is the first or the last sentence, else the only one that is named."""
    ends = {
        option
        for sentence in (sentences[0], sentences[-1])
        if (only := _ONLY.fullmatch(sentence))
        and isinstance(option := option_of(only["named"]), int)
    }
    if len(ends) == 1 and not ends & rejected:
        return ends.pop()
    named = references(_DENIED_TEXT.sub("", "\n".join(sentences))).replace(OUTSIDE, "")
    if CONFLICT in named:
        return option_of(CONFLICT)
    named = "".join(reference for reference in named if index_of(reference) not in rejected)
    if texts := re.sub(f"[{L}]", "", named):
        return option_of(texts)
    return "two letters" if len(set(named)) > 1 else None
