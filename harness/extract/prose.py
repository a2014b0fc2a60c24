"""An answer in prose: its statements, or else a short answer or a line that stands for one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.core.types import Extraction
from harness.extract import closings, judgements
from harness.extract.aligned import Aligned
from harness.extract.endings import stops_midway
from harness.extract.english import English, in_plain_english
from harness.extract.judgements import REFUSAL
from harness.extract.references import (
    CONFLICT,
    OUTSIDE,
    B,
    L,
    Options,
    T,
    index_of,
    option_of,
    references,
)
from harness.extract.statements import OBJECT, VERBS
from harness.extract.weighing import Found, committed

SHORT = 3
"""Sentences, of up to `SHORT_CHARS` in all, that are an answer and not its working."""
SHORT_CHARS = 400

_ONLY = re.compile(
    rf"[ \"'(\[|:,>=-]*+(?:(?:the|an?|only) )?{OBJECT}[ .!,|)\"'-]*+"
    r"(?:(?:because|since|due to|given) [^\n]*)?"
)
_LABEL = re.compile(f"[{L}{B}{CONFLICT}]")
_LEADING = re.compile(
    rf"[ \"'(\[|:.,>=-]{{0,8}}(?:(?:the|only) )?(?=[{L}{B}{CONFLICT}]){OBJECT}"
    rf"(?P<verb> {VERBS}\b)?"
)
_LABEL_BEGUN = re.compile(r"[(\[]?([A-Z])[.):\]]+ ?([^\n]*)")
_LAST_PART = re.compile(r"[,:;-] ?|\b(?:is|are) ")


def read_prose(
    text: Aligned,
    options: Options,
    raw: str,
    *,
    finished: bool | None,
    committed_only: bool = False,
) -> Extraction:
    """Reads one piece of a plain text without tags.

    With `committed_only` only phrases that commit count, not what merely stands in the text.
    """
    if (exact := options.exact(text.text)) is not None:
        return Extraction(exact, "option text", text.span(0, len(text)))
    english = in_plain_english(text, options)
    complete = bool(finished)
    if finished is None:
        written = raw[slice(*(text.span(0, len(text)) or (0, 0)))]
        complete = not stops_midway(written, names_option=_ends_with_option(english, options))
    found = committed(english, raw, options, finished=complete)
    if found is None and not committed_only:
        found = _final_line(english, raw) if complete else _begun(text, english, options)
    return (found or Found("nothing recognised", "")).reading(english.text)


def _ends_with_option(english: English, options: Options) -> bool:
    """The text ends where an option is named, and that is no number, which may go on."""
    last = english.text.text[-1:]
    named = re.match(f"[{L}{B}]", last) is not None
    return named or (re.match(f"[{T}]", last) is not None and index_of(last) not in options.numeric)


def _begun(text: Aligned, english: English, options: Options) -> Found:
    """What an unfinished text without a statement comes to: nothing, unless all that it says is a
    letter, with or without the beginning of its text ("B", "B. Illin")."""
    only = _ONLY.fullmatch(english.text.text)
    if only and _LABEL.match(only["named"]):
        return Found(option_of(only["named"]), "leading letter", 0, len(english.text))
    label = _LABEL_BEGUN.fullmatch(text.text)
    index = options.letters.get(label[1]) if label else None
    if label is None or index is None or not options.plain[index].startswith(label[2]):
        return Found("unfinished", "")
    return Found(index, "leading letter", 0, len(english.text))


def _final_line(english: English, raw: str) -> Found:
    """What a finished text without a statement comes to."""
    text, sentences = english.text.text, [sentence.text for sentence in english.sentences]
    rejections = list(judgements.rejections(text))
    rejected = {option for one in rejections if isinstance(option := one.option, int)}
    rejected |= {index_of(letter) for letter in judgements.DENIED_LETTER.findall(text)}
    last = text.rfind("\n") + 1
    if named := closings.closing_sentence(sentences[-1]):
        return Found(option_of(named), "closing phrase", last, len(text))
    short = len(sentences) <= SHORT and len(text) <= SHORT_CHARS
    if (leading := _leading_letter(sentences, rejected, short=short)) is not None:
        return Found(leading, "leading letter", 0, len(sentences[0]))
    if (closing := _closing_letter(sentences, rejected)) is not None:
        return Found(closing, "closing letter", last, len(text))
    if (bracketed := _bracketed(english, rejected, raw)) is not None:
        return bracketed
    if REFUSAL.search(text):
        return Found("refusal", "")
    if (only := _only_text(english, rejected, short=short)) is not None:
        return only
    if rejected:
        return Found("rejected", "")
    return Found("echo of the options" if english.lists else "nothing recognised", "")


def _labels(text: str) -> set[int]:
    """The options whose letters are in the text."""
    return {index_of(letter) for letter in re.findall(f"[{L}{B}]", text) if letter != OUTSIDE}


def _leading_letter(
    sentences: Sequence[str], rejected: set[int], *, short: bool
) -> int | str | None:
    """The option whose letter the text starts with, or why that is no commitment.

    It may be compared ("A is farther west than B"), begin a list ("A: ... B: ...") or a part of the
    question ("(a) The current is ..."), or be contradicted by another letter at the end.
    """
    leading = _LEADING.match(sentences[0])
    if leading is None or _labels(leading["named"]) & rejected:
        return None
    option = option_of(leading["named"])
    if isinstance(option, str):
        return option
    rest = sentences[0][leading.end() :]
    if REFUSAL.search(rest):
        return "refusal"
    rivals = _labels(rest) if leading["verb"] or re.match(f" ?[:-] ?[{L}]", rest) else set()
    listed = rest + "".join(later[0] for one in sentences[1:] if (later := _LEADING.match(one)))
    if option == 0 and _labels(rest) and _labels(listed) - rejected >= {1, 2}:
        return "two letters"  # "(A) is ...; (B) is .... (C) is ..."
    alone = _ONLY.fullmatch(sentences[0])
    if not short and not alone and not re.match(f"[{B}]", leading["named"]):
        return None
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
    named = only["named"] if only else ""
    if not _LABEL.match(named) or _labels(named) & rejected:
        return None
    before = _ONLY.fullmatch(sentences[-2]) if len(sentences) > 1 else None
    if before and _labels(before["named"]) - rejected - _labels(named):
        return "two letters"  # lines of a list
    if last_part != sentences[-1] and len(_labels("".join(sentences)) - rejected) > 1:
        return "two letters"
    return option_of(named)


def _bracketed(english: English, rejected: set[int], raw: str) -> Found | None:
    """The only letter of the text, where the last sentence names it in brackets or by text too."""
    text = english.text.text
    letters = list(re.finditer(f"[{L}{B}]", text))
    if not letters or len(_labels(text)) > 1 or OUTSIDE in text:
        return None
    at = letters[-1].start()
    place = english.text.span(at, at + 1)
    if at < text.rfind("\n") or place is None or index_of(text[at]) in rejected:
        return None
    enclosed = "(" in raw[max(0, place[0] - 1) : place[1]] or re.match(f"[{B}]", text[at])
    if not enclosed:
        return None
    return Found(index_of(text[at]), "closing letter", text.rfind("\n") + 1, len(text))


def _only_text(english: English, rejected: set[int], *, short: bool) -> Found | None:
    """The option whose text is the first or the last sentence; of a short answer the only one that
    is named. The working of a longer one names options in passing."""
    text, sentences = english.text.text, [sentence.text for sentence in english.sentences]
    ends = {
        option: start
        for sentence, start in ((sentences[0], 0), (sentences[-1], len(text) - len(sentences[-1])))
        if (only := _ONLY.fullmatch(sentence))
        and isinstance(option := option_of(only["named"]), int)
    }
    if len(ends) == 1 and not ends.keys() & rejected:
        [(option, start)] = ends.items()
        return Found(option, "option text", start, start + len(sentences[0 if not start else -1]))
    named = references(judgements.DENIED_TEXT.sub("", text)).replace(OUTSIDE, "")
    if CONFLICT in named:
        return Found(option_of(CONFLICT), "option text")
    named = "".join(reference for reference in named if index_of(reference) not in rejected)
    if texts := re.sub(f"[{L}]", "", named):
        option = option_of(texts)
        if not short and isinstance(option, int):
            return None
        at = text.index(texts[0])
        return Found(option, "option text", at, at + 1)
    return Found("two letters", "") if len(set(named)) > 1 else None
