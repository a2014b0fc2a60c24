"""From the statements of a text to one option, or to the reason why there is none."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.core.types import Extraction
from harness.extract import closings, judgements, statements
from harness.extract.aligned import Aligned
from harness.extract.english import English
from harness.extract.references import B, L, Options, index_of, references
from harness.extract.statements import Statement, Weight

TWO_ANSWERS = "two answers"

_CORRECTION = re.compile(
    r"\b(?:wait|actually|correction|however|but|instead|rather|mistaken?|mistakes|errors?|wrong"
    r"|incorrect|not correct|no(?=,)|oops|sorry|apolog\w*|revis\w*|re-?(?:exam|check|consider"
    r"|calcul|evaluat|assess|think|read|visit)\w*|closer|closest|nearest|second (?:thought|look)"
    r"|on reflection|more (?:accurate|precise)\w*|let me|upon|typo|should be|hmm|check again)\b"
    r"|不对|等等|并非",
    re.IGNORECASE,
)
_SUMMARY = re.compile(
    r"^ ?(?:(?:so|now|finally|here|let's|let us|is|are|in|to|a|the|i|we|will|can)\b,? ?){0,6}"
    r"(?:summar\w+|combin\w+|compil\w+|recap\w*|collect\w*|gather\w*|put\w*)\b[^.!?\n]{0,80}:"
    r"|\b(?:all|each|every|both|these|those|other|previous|following|above)(?: \w+){0,3}?"
    r" (?:answers|questions?|problems?|responses)\b[^.!?\n]{0,80}(?::|\.? ?$)"
    r"|^ ?(?:so|now|finally)\b[^.!?\n]{0,20}(?:summar|combin)\w+[^.!?\n]{0,20} answers\b"
    r"|(?:总结|總結|汇总|归纳|综合|整理|结合|以上|所有)[^\n]{0,16}(?:答案|问题|answer)",
    re.IGNORECASE | re.MULTILINE,
)
_OTHER_OPTIONS = re.compile(  # the labelled options of another question
    r"^\W{0,3}A[.):] ?(?P<A>[^\n]{2,300})\n+\W{0,3}B[.):][^\n]{2,300}\n+\W{0,3}C[.):]",
    re.MULTILINE,
)
_WORD = re.compile(r"\w")
_REPEATED = re.compile(  # at once, the same formula under a heading: as in a cycle
    r"[^\n]{0,40}\n ?(?:(?:so|now|thus|therefore|finally)\b[^.!?\n]{0,60}?)?(?:the |my )?"
    r"final answers?(?: is)?[ :\n]{1,3}the"
    r" (?:correct )?answer is\b"
)
_LIST_GAP = 100
"""Characters between statements that follow one another as in a list."""
_LIST = 3


@dataclass(frozen=True, slots=True)
class Found:
    """What a text says, and where it says so in that text."""

    option: int | str
    rule: str
    start: int = 0
    end: int = 0

    def reading(self, text: Aligned) -> Extraction:
        """As a reading, with the place in the raw text."""
        if isinstance(self.option, str):
            return Extraction(None, self.option)
        return Extraction(self.option, self.rule, text.span(self.start, self.end))


def committed(english: English, raw: str, options: Options, *, finished: bool) -> Found | None:
    """What the statements of a text commit to; None where there is none."""
    found = statements_of(english, options, finished=finished)
    said = sorted(
        _of_this_question(found, english.text, raw, options),
        key=lambda one: (one.at, not one.rule, one.rule != "closing phrase"),
    )
    return _weigh(said, english.text, raw)


def statements_of(english: English, options: Options, *, finished: bool) -> list[Statement]:
    """The statements that count, those of other questions too, in no order."""
    text = english.text.text
    found = [*statements.answer_phrases(text, options), *closings.closing_phrases(text)]
    found = [one for one in found if not judgements.is_denied(text, one)]
    rejections = list(judgements.rejections(text))
    found += _judged(text, options, rejections, finished=finished)
    found += rejections
    found += judgements.refusals(text)
    if not finished:
        found = [one for one in found if one.weight is not Weight.CLOSING]
    return found


_LISTED = re.compile(rf"^ ?([{L}{B}])\W", re.MULTILINE)
_CALLED = re.compile(  # "C. True."
    rf"^ ?(?P<named>[{L}{B}])[.:) -]*\s?(?:(?:it|this|statement) is )?"
    r"(?:(?P<good>true|correct|right|yes)|false|incorrect|wrong|no|not)\b",
    re.MULTILINE,
)


def _judged(
    text: str, options: Options, rejections: Sequence[Statement], *, finished: bool
) -> list[Statement]:
    """Verdicts. Where options are judged one by one, the one that is called correct counts when all
    have been judged, and only one is."""
    if one := _only_good(text, options):
        return [one]
    verdicts = list(judgements.verdicts(text))
    rejected = {one.named for one in rejections}
    judged = {index_of(ref) for ref in references("".join(rejected))}
    named = {verdict.statement.option for verdict in verdicts if not verdict.is_answer}
    judged |= {option for option in named if isinstance(option, int)}
    listed = judged | {index_of(ref) for ref in _LISTED.findall(text)}
    complete = len(judged) >= len(options.plain) or finished
    if len(listed) < _LIST or (complete and len(named) == 1):
        return [verdict.statement for verdict in verdicts]
    return [verdict.statement for verdict in verdicts if verdict.is_answer]


def _only_good(text: str, options: Options) -> Statement | None:
    """The only one that is called true, or correct, in a list that judges each option."""
    called = {found["named"]: found for found in _CALLED.finditer(text)}
    good = [found for found in called.values() if found["good"]]
    judged = {index_of(named) for named in called}
    if len(judged) < max(2, len(options.plain)) or len(good) != 1:
        return None
    [one] = good
    return Statement(one.start(), one.start("named"), one.end(), "verdict", one["named"])


def _of_this_question(
    found: Iterable[Statement], text: Aligned, raw: str, options: Options
) -> list[Statement]:
    """Without what stands after the answer and belongs to other questions: a summary of all the
    answers, the options of another question, a list or a cycle of further answers. A list that
    stands before any working, or after a refusal, has the answers of the examples."""
    said = sorted(found, key=lambda one: one.at)
    explicit = [one for one in said if one.rule and not one.is_refusal and one.is_explicit]
    if not explicit:
        return said
    limit = _others_begin(explicit, text, raw, options)
    said = [one for one in said if one.at < limit]
    later = [one for one in said if one.named and one.at > explicit[0].at]
    others = {one.at for one in later if statements.is_for_several(text.text, one)}
    said = [one for one in said if one.at not in others]
    lettered = {one.at: one for one in said if one in explicit and one.is_of_list}
    run = _run(list(lettered.values()), text)
    if run is None:
        return said
    first, last = run
    working = text.text[: text.text.rfind("\n", 0, first.start) + 1].strip(" .:\n-)0123456789")
    closes = bool(working) and not _declined(said, first)
    return [one for one in said if one.at < first.at + closes or one.at > last.at]


def _others_begin(answers: Sequence[Statement], text: Aligned, raw: str, options: Options) -> int:
    """Where, after an answer, the answers or the options of other questions begin."""
    limit = len(text)
    first = answers[0]
    if summary := _SUMMARY.search(text.text, first.end):
        limit = summary.start()
    lettered = (one for one in answers if one.is_lettered)
    again = next((one for one in lettered if _REPEATED.match(text.text, one.end)), None)
    if again is not None:
        limit = min(limit, again.end)
    place = text.span(first.start, first.end)
    listed = _OTHER_OPTIONS.search(raw, place[1] if place else 0)
    if listed and options.exact(listed["A"].strip()) is None:
        limit = min(limit, bisect_left(text.starts, listed.start()))
    return limit


def _declined(said: Sequence[Statement], first: Statement) -> bool:
    before = [one for one in said if one.at < first.at]
    return bool(before) and before[-1].is_refusal


def _run(explicit: Sequence[Statement], text: Aligned) -> tuple[Statement, Statement] | None:
    """The first and the last of three or more statements that follow one another at once, and do
    not agree."""
    start = 0
    for at in range(1, len(explicit) + 1):
        if at < len(explicit) and _follows(explicit[at - 1], explicit[at], text):
            continue
        run = explicit[start:at]
        if len(run) >= _LIST and len({one.option for one in run}) > 1:
            return run[0], run[-1]
        start = at
    return None


def _follows(one: Statement, other: Statement, text: Aligned) -> bool:
    if text.text[one.end : text.text.find("\n", one.end)].strip(" .)"):
        return False
    between = text.text[one.end : other.start]
    return len(between) < _LIST_GAP and not _CORRECTION.search(between) and not other.final


def _weigh(said: Sequence[Statement], text: Aligned, raw: str) -> Found | None:
    """Goes through the statements in order. A heavier one replaces a lighter one; of two that weigh
    the same and differ the later counts where it corrects the earlier, or is the final answer."""
    current: Found | None = None
    by: Statement | None = None
    for one in said:
        if not one.rule:
            if current and current.option == one.option and one.weight is Weight.EXPLICIT:
                current = Found("rejected", one.rule)
        elif one.is_refusal:
            hedged = by is not None and by.hedged and not one.is_explicit
            if current and not hedged and one.weight is not Weight.CLOSING:
                current, by = Found("refusal", one.rule), None
        elif current is None or by is None or one.option == current.option:
            if current is None or by is None or _heft(one) >= _heft(by):
                current, by = Found(one.option, one.rule, one.start, one.end), one
        elif not one.adds and _replaces(one, by, current, text, raw):
            current, by = Found(one.option, one.rule, one.start, one.end), one
        elif _heft(one) == _heft(by) and one.named:
            current = Found(TWO_ANSWERS, one.rule)
    return current


def _replaces(
    one: Statement, by: Statement, current: Found | None, text: Aligned, raw: str
) -> bool:
    """The statement counts instead of the one before."""
    if not one.named:
        return False
    if one.weight == by.weight and one.is_lettered and not by.is_lettered:
        return True
    if one.plain and not by.plain and not _WORD.search(text.text, one.end):
        return True  # the last words of the text
    if _heft(one) != _heft(by) and not _corrects(one, by, text, raw):
        return _heft(one) > _heft(by)
    if not by.named or isinstance(by.option, str) or (current and current.option == "rejected"):
        return True
    return one.final or _corrects(one, by, text, raw) or _opening(one, by, text)


def _heft(one: Statement) -> tuple[Weight, bool]:
    """How much a statement says; of closing lines those more that name a letter, since the working
    names an option's text in passing."""
    return one.weight, one.weight is not Weight.CLOSING or one.is_lettered


def _corrects(one: Statement, by: Statement, text: Aligned, raw: str) -> bool:
    before, after = text.span(by.start, by.end), text.span(one.start, one.end)
    if before is None or after is None:
        return False
    return _CORRECTION.search(raw, before[1], after[1]) is not None


def _opening(one: Statement, by: Statement, text: Aligned) -> bool:
    """The earlier one opened the text, and was followed by the reasoning that came to this one."""
    first_line = text.text.find("\n")
    opened = first_line < 0 or by.start <= first_line
    return opened and text.text.count("\n", by.end, one.start) > 2
