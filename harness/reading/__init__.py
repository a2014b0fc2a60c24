"""Readers: what a model's raw text answers.

One reader, `read_choice`, serves multiple choice for every model. It never guesses: a text that
commits to no option, or to more than one, has no answer, and the reading says why.

`transcript` takes the model's own answer out of the text: template residue goes, an echoed prompt
goes, and so does everything from a newly invented question or turn on. `references` makes one
private character of every place that names an option: a letter that is used as a letter (not the
article of "A food web", not the pronoun I, not vitamin C), the text of an option (longest match on
word boundaries; case matters where options differ only by case), or both ("B. Illinois"). `rules`
are short patterns over that marked text, tried in this order:

    conclusion      the last CONCLUSION tag that is not empty; what follows reads its content
    option text     the whole answer is an option's text, word for word (unless that is a letter:
                    with the options "B", "A" the answer "B" is the option that is labelled B)
    answer phrase   "the answer is B", "Final answer: B"                     ]
    closing phrase  "So D.", "I think it is C", "I'd go with C"              ]  the last one wins
    verdict         "B is correct"                                           ]
    leading letter  the text starts with a letter: "B", "(B)", "B. Illinois", "B, because ..."
    closing letter  the last sentence is a letter, or ends with the only letter that is named
    option text     exactly one option's text is named; a first or last sentence that is nothing
                    but an option's text outweighs options named in passing

An option that is negated or rejected ("not A", "A is wrong", "B rather than A") is no answer
unless a later phrase commits to it. A question commits to nothing. Reasons for no answer:

    empty                         nothing but white space and template residue
    empty conclusion              a CONCLUSION tag with nothing in it
    no conclusion                 a structured text that never came to its conclusion, and whose
                                  reasoning does not say what the answer is
    echo of the options           the options were repeated and none was chosen
    two letters, two options      more than one option, without commitment to one
    letter outside the options    E where there are three
    letter and text disagree      "B. Alabama" where Alabama is A
    rejected                      options were named only to be rejected
    refusal                       "I cannot see the image", "None of the above", "N/A"
    nothing recognised            none of these

The other readers are for comparison: `paper-base` and `paper-kd` are the two of the paper's code,
`lmms-eval` is that harness's rule for ScienceQA.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase
from types import MappingProxyType

from harness import structured
from harness.reading.aligned import Aligned, joined, with_brackets
from harness.reading.chat_turns import own_turn
from harness.reading.fields import Field, answer_field
from harness.reading.languages import in_english
from harness.reading.prose import read_prose
from harness.reading.references import Options, prepare
from harness.reading.spelling import plain
from harness.reading.thinking import without_thinking
from harness.reading.transcript import own_answers, own_words
from harness.types import Reading

Reader = Callable[[str, Sequence[str]], Reading]
"""(raw text, choices) -> reading; never raises, and an index read is always one of the choices."""

_ECHO = "echo of the options"
_SAYS_NOTHING = ("empty", "nothing recognised", _ECHO)  # the last is the most telling


def read_choice(
    raw: str,
    choices: Sequence[str],
    *,
    finished: bool | None = None,
) -> Reading:
    """The 0-based index of the option that a raw text commits to, with the rule that fired.

    `finished`: the model ended the text by itself (True), the token limit did (False), or nobody
    knows (None).

    None, with the reason as the rule, where it commits to none: it is never guessed. Letters are
    read for the first 26 choices. The rules are listed at the top of this package.
    """
    text = without_thinking(Aligned.of(raw))
    if text is None:
        return Reading(None, "unfinished thinking")
    found = _Reader(raw, prepare(choices), finished).read(in_english(plain(own_words(text))))
    return replace(found, span=with_brackets(raw, found.span)) if found.span else found


def read_open(
    raw: str,
    choices: Sequence[str] = (),  # noqa: ARG001  # a Reader
    *,
    finished: bool | None = None,  # noqa: ARG001  # a cut answer is still scored
) -> Reading:
    """The answer to an open question: the text, without template residue and invented turns.

    Where there is a CONCLUSION, it is that; an empty text is None. `choices` and `finished` are
    there because every reader takes them.
    """
    spoken = without_thinking(Aligned.of(raw))
    if spoken is None:
        return Reading(None, "unfinished thinking")
    own = own_turn(spoken)
    text = own.text
    if not text:
        return Reading(None, "empty")
    concluded = structured.conclusion(text)
    if concluded is None:
        return Reading(text, "whole text", own.span(0, len(own)))
    return Reading(concluded, "conclusion") if concluded else Reading(None, "empty conclusion")


def read_last_capital(raw: str, choices: Sequence[str]) -> Reading:
    """`paper-base`: the last capital letter anywhere in the text, taken for an option's letter.

    The original raises an IndexError where there is none.
    """
    capitals = re.findall("[A-Z]", raw)
    if not capitals:
        return Reading(None, "no capital letter")
    return _labelled(capitals[-1], choices, rule="last capital letter")


def read_exact_conclusion(raw: str, choices: Sequence[str]) -> Reading:
    """`paper-kd`: what stands between the two CONCLUSION tags must be a letter and nothing else."""
    concluded = structured.strict_conclusion(raw)
    if concluded is None:
        return Reading(None, "no conclusion")
    return _labelled(concluded, choices, rule="conclusion")


def read_exact_letter(raw: str, choices: Sequence[str]) -> Reading:
    """`lmms-eval`: the text is a letter, or starts with a letter and a full stop."""
    text = raw.strip()
    return _labelled(text[:1] if text[1:2] == "." else text, choices, rule="exact letter")


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "ours": read_choice,
        "paper-base": read_last_capital,
        "paper-kd": read_exact_conclusion,
        "lmms-eval": read_exact_letter,
    }
)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the pieces of one answer."""

    raw: str
    options: Options
    finished: bool | None

    def read(self, text: Aligned) -> Reading:
        """Reads a plain text: the first piece that says anything."""
        reading = Reading(None, "empty")
        for answer in own_answers(text, restates=self.options.all_in):
            ends = bool(answer) and answer.ends[-1] == text.ends[-1]
            found = self._answer(answer, finished=self.finished if ends else True)
            if found.rule not in _SAYS_NOTHING:
                return found
            reading = max(reading, found, key=lambda candidate: _SAYS_NOTHING.index(candidate.rule))
        return Reading(None, _ECHO) if self.options.all_in(text.text) else reading

    def _answer(self, text: Aligned, *, finished: bool | None) -> Reading:
        """Reads one piece: by its conclusion where it is a rationale."""
        if not text:
            return Reading(None, "empty")
        parsed = structured.parse(text.text)
        if parsed.conclusion is not None:
            if not parsed.conclusion:
                return Reading(None, "empty conclusion")
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
        return reading if reading.answer is not None else Reading(None, "no conclusion")

    def _field(self, text: Aligned) -> Reading | None:
        """Reads the answer field of a JSON object or a tag; None where there is none."""
        field = answer_field(text.text)
        if isinstance(field, Field):
            reading = self._prose(text[field.start : field.end], finished=None)
            return replace(reading, rule="answer phrase") if reading.answer is not None else reading
        if field is None:
            return None
        index = self.options.letters.get(field.label or "")
        if index is None:
            return Reading(None, "two options")
        return Reading(index, "largest probability", text.span(field.start, field.end))

    def _prose(
        self, text: Aligned, *, finished: bool | None, committed_only: bool = False
    ) -> Reading:
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


def _labelled(label: str, choices: Sequence[str], *, rule: str) -> Reading:
    if len(label) != 1 or label not in ascii_uppercase:
        return Reading(None, "not a letter")
    index = ascii_uppercase.index(label)
    if index >= len(choices):
        return Reading(None, "letter outside the options")
    return Reading(index, rule)
