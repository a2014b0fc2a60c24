"""Extractors: what a model's raw text answers.

One extractor, `extract_choice`, serves multiple choice for every model. Another option than the one
meant is worse than none: a text that commits to no option, or to more than one, is unparsed, and
the reading says why. The steps:

1. Cut what is not this answer. `thinking` drops a model's thinking; thinking that never ends is no
   answer. `transcript` drops the template's tokens, an echoed prompt, and all that follows from a
   newly invented question or turn on; a turn begins a line, and looks like one. Of numbered
   questions that begin a text the last is ours, the others are the examples of the prompt.
2. Spell it in one way. `characters` and `spelling` (units, LaTeX, numbers, markup) rewrite the text
   and the choices alike; `languages` puts "the answer is" of other languages into English.
   `references` makes one private character of every place that names an option: a letter that is
   used as a letter (not the article of "A food web", the pronoun I, vitamin C, a variable), the
   text of an option (the longest match on word boundaries; a number only outside formulas; case
   matters where options differ only by case), or both ("B. Illinois"). Every character keeps its
   place in the raw text (`aligned`), so that a reading has the span that it was extracted from.
3. Find statements. `statements` has those that say it outright, "the answer is B"; `closings` those
   that close a reasoning, "so D."; `judgements` "B is correct", "A is wrong", "none of these". A
   question commits to nothing. `fields` reads JSON and tags called answer.
4. Weigh them (`weighing`). First go the statements of other questions: what follows a summary of
   several answers, the lettered options of another question, a list or a cycle of statements, of
   which the one that closed the reasoning stays. Then, in order: an explicit statement beats a
   loose one ("the correct statement is B"), that beats a box, and a box beats a closing line; of
   two that weigh the same and differ the later counts where it corrects the earlier ("wait",
   "however", "the closest"), calls itself final, or ends a text that opened with the earlier.
   Otherwise there are two answers, and so none. Where options are judged one by one, the one that
   is called correct counts when all have been judged. A rejection takes its option back; "none of
   the options", said last, takes back all but a statement that called itself the closest.
5. Decide (`prose`). Without a statement a short answer, or a final line that stands for one,
   counts: never the working. In a text that is not finished (`finished` is False; or it is None,
   and `endings` sees that the text stops in mid-sentence, in mid-formula, in a list or in a cycle)
   only explicit statements count.

The rules, which name what an answer was extracted from:

    conclusion           the last CONCLUSION tag that is not empty; the steps read its content
    option text          the whole answer is an option's text, however spelt (unless that is a
                         letter: with the options "B", "A" the answer "B" is the one labelled B);
                         or the first or last sentence is; or a short answer names only that
    answer phrase        "the answer is B", "Final answer: B", a box, an answer field
    largest probability  {"A": 0.1, "B": 0.9}
    closing phrase       "So D.", "I think it is C", "I'd go with C"
    verdict              "B is correct"
    leading letter       "B", "(B)", "B. Illinois", "B, because ..."
    closing letter       the last sentence is a letter, or names the only letter of the text

And the reasons for no answer:

    empty                         nothing but white space and template residue
    unfinished thinking           the thinking never ends
    empty conclusion              a CONCLUSION tag with nothing in it
    no conclusion                 a structured text that never came to its conclusion, and whose
                                  reasoning does not say what the answer is
    unfinished                    a text that was cut before it said what the answer is
    echo of the options           the options were repeated and none was chosen
    two answers                   two statements that differ, without a correction
    two letters, two options      more than one option, without commitment to one
    letter outside the options    E where there are three
    value outside the options     "the answer is 37", and no option is
    letter and text disagree      "B. Alabama" where Alabama is A
    rejected                      options were named only to be rejected
    refusal                       "I cannot see the image", "None of the above", "N/A"
    nothing recognised            none of these

Written answers (`extract_open`) go through the first step only, more carefully: `chat_turns` cuts
at turns of a chat template, never at words within a sentence. The other extractors are for
comparison: `paper-base` and `paper-kd` are the two of the paper's code, `lmms-eval` is that
harness's rule for ScienceQA.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from string import ascii_uppercase
from types import MappingProxyType

from harness.core import structured
from harness.core.types import Extraction
from harness.extract.aligned import Aligned, joined, with_brackets
from harness.extract.chat_turns import own_turn
from harness.extract.fields import Field, answer_field
from harness.extract.languages import in_english
from harness.extract.prose import read_prose
from harness.extract.references import Options, prepare
from harness.extract.spelling import plain
from harness.extract.thinking import without_thinking
from harness.extract.transcript import own_answers, own_words

Extractor = Callable[[str, Sequence[str]], Extraction]
"""(raw text, choices) -> extraction; never raises, and an index is always that of a choice."""

_ECHO = "echo of the options"
_SAYS_NOTHING = ("empty", "nothing recognised", _ECHO)  # the last is the most telling


def extract_choice(
    raw: str,
    choices: Sequence[str],
    *,
    finished: bool | None = None,
) -> Extraction:
    """The 0-based index of the option that a raw text commits to, with the rule that fired.

    `finished`: the model ended the text by itself (True), the token limit did (False), or nobody
    knows (None).

    None, with the reason as the rule, where it commits to none: it is never guessed. Letters are
    read for the first 26 choices. The rules are listed at the top of this package.
    """
    text = spelt(raw)
    if text is None:
        return Extraction(None, "unfinished thinking")
    found = _Extractor(raw, prepare(choices), finished).read(text)
    return replace(found, span=with_brackets(raw, found.span)) if found.span else found


def spelt(raw: str) -> Aligned | None:
    """The text that options are looked for in: without thinking, and spelt in one way; None where
    the thinking never ends."""
    text = without_thinking(Aligned.of(raw))
    return None if text is None else in_english(plain(own_words(text)))


def extract_open(
    raw: str,
    choices: Sequence[str] = (),  # noqa: ARG001  # a Extractor
    *,
    finished: bool | None = None,  # noqa: ARG001  # a cut answer is still scored
) -> Extraction:
    """The answer to an open question: the text, without template residue and invented turns.

    Where there is a CONCLUSION, it is that; an empty text is None. `choices` and `finished` are
    there because every extractor takes them.
    """
    spoken = without_thinking(Aligned.of(raw))
    if spoken is None:
        return Extraction(None, "unfinished thinking")
    own = own_turn(spoken)
    text = own.text
    if not text:
        return Extraction(None, "empty")
    concluded = structured.conclusion(text)
    if concluded is None:
        return Extraction(text, "whole text", own.span(0, len(own)))
    return (
        Extraction(concluded, "conclusion") if concluded else Extraction(None, "empty conclusion")
    )


def extract_mixed(
    raw: str, choices: Sequence[str] = (), *, finished: bool | None = None
) -> Extraction:
    """The option where there are some, else the text."""
    read = extract_choice if choices else extract_open
    return read(raw, choices, finished=finished)


def extract_last_capital(raw: str, choices: Sequence[str]) -> Extraction:
    """`paper-base`: the last capital letter anywhere in the text, taken for an option's letter.

    The original raises an IndexError where there is none.
    """
    last = _UP_TO_LAST_CAPITAL.match(raw)
    if not last:
        return Extraction(None, "no capital letter")
    return _labelled(last[1], choices, rule="last capital letter")


_UP_TO_LAST_CAPITAL = re.compile(".*([A-Z])", re.DOTALL)


def extract_exact_conclusion(raw: str, choices: Sequence[str]) -> Extraction:
    """`paper-kd`: what stands between the two CONCLUSION tags must be a letter and nothing else."""
    concluded = structured.strict_conclusion(raw)
    if concluded is None:
        return _NO_CONCLUSION
    return _labelled(concluded, choices, rule="conclusion")


def extract_exact_letter(raw: str, choices: Sequence[str]) -> Extraction:
    """`lmms-eval`: the text is a letter, or starts with a letter and a full stop."""
    text = raw.strip()
    return _labelled(text[:1] if text[1:2] == "." else text, choices, rule="exact letter")


EXTRACTORS: Mapping[str, Extractor] = MappingProxyType(
    {
        "ours": extract_choice,
        "paper-base": extract_last_capital,
        "paper-kd": extract_exact_conclusion,
        "lmms-eval": extract_exact_letter,
    }
)


@dataclass(frozen=True, slots=True)
class _Extractor:
    """Reads the pieces of one answer."""

    raw: str
    options: Options
    finished: bool | None

    def read(self, text: Aligned) -> Extraction:
        """Reads a plain text: the first piece that says anything."""
        reading = Extraction(None, "empty")
        for answer in own_answers(text, restates=self.options.all_in):
            ends = bool(answer) and answer.ends[-1] == text.ends[-1]
            found = self._answer(answer, finished=self.finished if ends else True)
            if found.rule not in _SAYS_NOTHING:
                return found
            reading = max(reading, found, key=lambda candidate: _SAYS_NOTHING.index(candidate.rule))
        return Extraction(None, _ECHO) if self.options.all_in(text.text) else reading

    def _answer(self, text: Aligned, *, finished: bool | None) -> Extraction:
        """Reads one piece: by its conclusion where it is a rationale."""
        if not text:
            return Extraction(None, "empty")
        parsed = structured.parse(text.text)
        if parsed.conclusion is not None:
            if not parsed.conclusion:
                return Extraction(None, "empty conclusion")
            at = text.text.rindex(parsed.conclusion)
            reading = self.read(text[at : at + len(parsed.conclusion)])
            return replace(reading, rule="conclusion") if reading.answer is not None else reading
        if structured.span(text.text) is None:
            return self._field(text) or self._prose(text, finished=finished)
        reading = self._prose(_piece(text, parsed.outside), finished=finished)
        if reading.answer is None and parsed.reasoning:
            reading = self._prose(
                _piece(text, parsed.reasoning), finished=finished, committed_only=True
            )
        return reading if reading.answer is not None else Extraction(None, "no conclusion")

    def _field(self, text: Aligned) -> Extraction | None:
        """Reads the answer field of a JSON object or a tag; None where there is none."""
        field = answer_field(text.text)
        if isinstance(field, Field):
            reading = self._prose(text[field.start : field.end], finished=None)
            return replace(reading, rule="answer phrase") if reading.answer is not None else reading
        if field is None:
            return None
        index = self.options.letters.get(field.label or "")
        if index is None:
            return Extraction(None, "two options")
        return Extraction(index, "largest probability", text.span(field.start, field.end))

    def _prose(
        self, text: Aligned, *, finished: bool | None, committed_only: bool = False
    ) -> Extraction:
        return read_prose(
            text, self.options, self.raw, finished=finished, committed_only=committed_only
        )


def _piece(text: Aligned, part: str) -> Aligned:
    """The part of a text, which may have been put together of several pieces."""
    at = text.text.find(part)
    return (
        text[at : at + len(part)]
        if at >= 0
        else joined([_piece(text, line) for line in part.split("\n")])
    )


def _labelled(label: str, choices: Sequence[str], *, rule: str) -> Extraction:
    return _of_label(label, len(choices), rule) if len(label) == 1 else _NOT_A_LETTER


@lru_cache(maxsize=1024)
def _of_label(label: str, choices: int, rule: str) -> Extraction:
    if label not in ascii_uppercase:
        return _NOT_A_LETTER
    index = ascii_uppercase.index(label)
    if index >= choices:
        return Extraction(None, "letter outside the options")
    return Extraction(index, rule)


_NO_CONCLUSION = Extraction(None, "no conclusion")
_NOT_A_LETTER = Extraction(None, "not a letter")
