"""The model's own words: a raw text without its template, an echoed prompt, and what was invented
after the answer. This module alone knows chat templates as they appear in outputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from harness.core import structured
from harness.extract.aligned import Aligned, joined
from harness.extract.characters import normal, tidy

HEAD_CHARS, TAIL_CHARS = 5_000, 25_000
"""Of a longer text (ten times what models are allowed to write) only these are read, so that a
runaway generation costs no more than a moment."""

# The marks of a turn: private characters; those of the text itself are dropped.
USER, ASSISTANT, END = "\uf8fb", "\uf8fc", "\uf8fd"
_MARKS = f"{USER}{ASSISTANT}{END} \n"

_RESIDUE = re.compile(
    r"<object>(?:<[^<>\n]{1,40}>){0,40}</object>|<patch_index_\d{1,4}>"
    r"|</?(?:phrase|object|grounding|image|unk|pad|bos|delimiter_of_\w{1,20}/)>|<s>"
    r"|\[(?:CLS|SEP|PAD|UNK|MASK)\]|<\|(?:begin_of_text|startoftext|bos|image\w{0,8})\|>"
)
_END_TOKEN = re.compile(r"<\|[\w ]{1,40}\|>|</s>|<(?:eos|end_of_turn|end_of_utterance)>")
_BREAK = r"(?:^|(?<=[\n.!?)>:]) ?|(?<=\b[A-H]) )"
"""Where a turn may begin: a line, a sentence, or what follows an answer that is a letter."""
_USER_TURN = re.compile(
    r"<\|(?:user|human|system)\|>|<start_of_turn>\s{0,3}user|\[INST\]"
    r"|<\|(?:im_start|start_header_id)\|>\s{0,3}(?:user|system)\b(?:<\|end_header_id\|>)?"
    rf"|{_BREAK}(?:USER|HUMAN|User|Human) ?:|^(?:user|system)\n\n"
    r"|(?<!#)(?:#{2,6} ?(?:Human|User|Instruction|Input|Question|Your [Tt]ask)\b|# Instruction\b)"
    r" ?\d{0,3} ?:?"
    r"|^#{2,6} *$(?!\n\(?[A-J]\)?\s*\Z)"
    r"|^Context: [^\n]*\n(?=Question:)",
    re.MULTILINE,
)
_SPEAKERS = (
    "# Instruction",
    "User",
    "user",
    "USER",
    "Human",
    "HUMAN",
    "ssistant",
    "ASSISTANT",
    "##",
    "Context:",
)
_TOKENS = re.compile(r"<[|/a-z]|\[[A-Z/]|system\n")
_ASSISTANT_TURN = re.compile(
    r"<\|assistant\|>|<start_of_turn>\s{0,3}model\b|\[/INST\]"
    r"|<\|(?:im_start|start_header_id)\|>\s{0,3}assistant\b(?:<\|end_header_id\|>)?"
    r"|\bASSISTANT ?:|(?:^|(?<=[.!?)>]) ?)[Aa]ssistant(?: ?:|\n)|(?<=\w)assistant\n\n"
    r"|(?<!#)#{2,6} ?(?:Assistant|Response)\b ?:?",
    re.MULTILINE,
)

_LABEL = r"\(?[Aa][.):]"
_AT_BREAK = re.compile(r"(?:\A|\n ?|[\n.!?)>:] |\b[A-H] )\Z")
_OPTIONS = re.compile(
    rf"(?:[Oo]ptions|[Cc]hoices|OPTIONS|CHOICES) ?:(?=\s?{_LABEL}|\s?$| )", re.MULTILINE
)
_OPTIONS_FOLLOW = re.compile(rf"\s?(?:{_LABEL}|$)", re.MULTILINE)
_HEADING = re.compile(  # "Question 2:", "Next question:", "Exercise 2:"
    r"^[ \d.]{0,5}(?:the |another )?(?:next |new |follow-?up )?"
    r"(?:question|problem|exercise|quiz|example(?= ?\d)) ?(?:no\.? ?)?(?P<number>\d{1,3})?"
    r" ?(?:is ?)?[:.)]",
    re.MULTILINE | re.IGNORECASE,
)
_EXAMPLE = re.compile(  # where a question, an answer or options follow
    r"Q ?\d{0,3}[:.)](?= [^\n]{0,300}(?:\?|\n ?A(?:nswer)?[:.)]))"
)
_EXAMPLE_IN_LINE = re.compile(
    r"(?<![Tt]he )(?<!this )\bQuestion ?\d{0,3}:(?=[^\n]{0,400}\b(?:Options|Answer|Choices) ?:)"
)
_ASKS = re.compile(  # a line that asks something, before a list of options
    r"^(?!\(?[a-hA-H][.):]|[^\n]{0,300}\b(?i:options|choices|answer) ?:)"
    rf"[^\n]{{1,300}}\?(?=\s{_LABEL}[^?]{{1,200}}\s\(?[bB][.):])",
    re.MULTILINE,
)
_REPLY = re.compile(r"\b(?:answer|response) ?:", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.!?\n]*(?:\.(?=\d)[^.!?\n]*)*[.!?\n]|[^.!?\n]+")


def own_words(text: Aligned) -> Aligned:
    """A raw text as the rest of the package reads it.

    NFC; plain quotes, dashes and spaces; no blank lines; special tokens dropped or reduced to the
    marks of a turn.
    """
    if len(text) > HEAD_CHARS + TAIL_CHARS:
        text = joined((text[:HEAD_CHARS], text[-TAIL_CHARS:]))
    text = normal(text)
    tokens = _TOKENS.search(text.text) is not None
    if tokens:
        text = text.sub(_RESIDUE, " ")
    if tokens or any(name in text.text for name in _SPEAKERS):
        text = text.sub(_USER_TURN, f"\n{USER}").sub(_ASSISTANT_TURN, f"\n{ASSISTANT}")
    return tidy(text.sub(_END_TOKEN, END) if tokens else text)


def sentences(text: Aligned) -> list[Aligned]:
    """Pieces that end with a full stop, a mark or a line break; together they are the text."""
    return [text[found.start() : found.end()] for found in _SENTENCE.finditer(text.text)]


def own_answers(text: Aligned, *, restates: Callable[[str], bool]) -> Iterator[Aligned]:
    """The pieces of a text that may hold the answer; the first that says anything counts.

    That is what stands before any question, or, where nothing was said yet or where a question
    restates our options (`restates`), what follows that question; where both, the latter. Of
    numbered questions that begin the text, and none of which restates our options, the last is
    ours: the others are the examples of the prompt. All other questions are invented.
    """
    first, *questions = _split_at_questions(text)
    yield _first_turn(first)
    silent = all(s.endswith("?") or not s.strip(_MARKS) for s in _SENTENCE.findall(first.text))
    numbered = len(questions) > 1 and all(
        (heads := _heads(question.text)) and heads[0].number for question in questions
    )
    if silent:
        ours = [question for question in questions if restates(question.text)]
        questions = ours or (questions[-1:] if numbered else questions)
    for question in questions:
        if not (silent or restates(question.text)):
            return
        silent = False
        yield _first_turn(_after_echo(question))


class _Head(NamedTuple):
    """Where a question, or its list of options, begins."""

    start: int
    end: int
    lists: bool = False
    number: str = ""


def _heads(text: str) -> list[_Head]:
    """The places where questions begin, in order."""
    found = [_Head(*mark.span()) for mark in re.finditer(USER, text)]
    for mark in _OPTIONS.finditer(text):
        before = text[max(0, mark.start() - 2) : mark.start()]
        begins_line = not before.strip(" ") or before.endswith("\n") or before == "\n "
        if begins_line or (before[0] in "?.:!" and _OPTIONS_FOLLOW.match(text, mark.end())):
            found.append(_Head(mark.start(), mark.end(), lists=True))
    found += (_Head(*mark.span(), number=mark["number"] or "") for mark in _HEADING.finditer(text))
    for mark in _EXAMPLE.finditer(text):
        if _AT_BREAK.search(text[max(0, mark.start() - 3) : mark.start()]):
            found.append(_Head(*mark.span()))
    found += (_Head(*mark.span()) for mark in _EXAMPLE_IN_LINE.finditer(text))
    if "?" in text:
        found += (_Head(*mark.span()) for mark in _ASKS.finditer(text))
    kept: list[_Head] = []
    for head in sorted(found):
        if not kept or head.start >= kept[-1].end:
            kept.append(head)
    return kept


def _split_at_questions(text: Aligned) -> list[Aligned]:
    """Cuts before each question or turn of the user. A question keeps its list of options, and a
    rationale is not cut: its summary may well say "Question:"."""
    start, end = structured.span(text.text) or (0, 0)
    cuts = [0]
    may_list = False
    for head in _heads(text.text):
        turn_begins = len(cuts) > 1 and text.text[cuts[-1] : head.start].strip() == USER
        if turn_begins or start < head.start < end:
            continue
        if may_list and head.lists:
            may_list = False
        else:
            cuts.append(head.start)
            may_list = not head.lists
    return [text[a:b] for a, b in zip(cuts, [*cuts[1:], len(text)], strict=True)]


def _after_echo(question: Aligned) -> Aligned:
    """What follows a question: its reply where one is marked, else what follows its options, its
    question mark, its heading, or its line."""
    text = question.text
    if ASSISTANT in text:
        return question[text.index(ASSISTANT) + 1 :]
    if reply := _REPLY.search(text):
        return question[reply.start() :]
    if text.startswith(USER) and END in text:
        return question[text.index(END) + 1 :]
    heads = _heads(text)
    if listed := next((head for head in heads if head.lists), None):
        return question[listed.end :]
    if heads and heads[0].number:
        return question[heads[0].end :]
    mark = next((mark for mark in ("?", "\n", ". ") if mark in text), "")
    return question[text.index(mark) + 1 :] if mark else question[len(text) :]


def _first_turn(text: Aligned) -> Aligned:
    """The text up to its first end token."""
    text = text.stripped(_MARKS)
    text = text[: text.text.find(END)] if END in text.text else text
    return text.sub(re.compile(ASSISTANT), "").stripped()
