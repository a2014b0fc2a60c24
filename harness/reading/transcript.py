"""The model's own words: a raw text without its template, an echoed prompt, and what was invented
after the answer. This module alone knows chat templates as they appear in outputs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

from harness import structured

HEAD_CHARS, TAIL_CHARS = 5_000, 25_000
"""Of a longer text (ten times what models are allowed to write) only these are read, so that a
runaway generation costs no more than a moment."""

# The marks of a turn: private characters; those of the text itself are dropped.
USER, ASSISTANT, END = "\uf8fb", "\uf8fc", "\uf8fd"
_MARKS = f"{USER}{ASSISTANT}{END} \n"

_CHARACTERS = {
    **{code: None for code in range(0x20) if chr(code) not in "\t\n\r"},
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},  # full-width forms
    **dict.fromkeys((0xAD, 0xFEFF, 0xFE0E, 0xFE0F), None),  # soft hyphen, variation selectors
    **dict.fromkeys((*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A)), None),
    **dict.fromkeys(range(0xE000, 0xF900), None),
    **dict.fromkeys(map(ord, "\r\x85\u2028\u2029"), "\n"),
    **dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u2032"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u00ab\u00bb"), '"'),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-"),
    0x2026: "...",
    0x2192: ":",  # "Answer -> B", as an arrow
}

_RESIDUE = re.compile(
    r"<object>(?:<[^<>\n]{1,40}>){0,40}</object>|<patch_index_\d{1,4}>"
    r"|</?(?:phrase|object|grounding|image|unk|pad|bos|delimiter_of_\w{1,20}/)>|<s>"
    r"|\[(?:CLS|SEP|PAD|UNK|MASK)\]|<\|(?:begin_of_text|startoftext|bos|image\w{0,8})\|>"
)
_END_TOKEN = re.compile(r"<\|[\w ]{1,40}\|>|</s>|<(?:eos|end_of_turn|end_of_utterance)>")
_USER_TURN = re.compile(
    r"<\|(?:user|human|system)\|>|<start_of_turn>\s{0,3}user|\[INST\]"
    r"|<\|(?:im_start|start_header_id)\|>\s{0,3}(?:user|system)\b(?:<\|end_header_id\|>)?"
    r"|\b(?:USER|HUMAN) ?:|^(?:user|system)\n\n",
    re.MULTILINE,
)
_USER_LINE = re.compile(
    r"(?:^|(?<=[\n.!?)>]) ?|(?<=\b[A-H]) )(?:User|Human) ?:"
    r"|(?<!#)#{2,6} ?(?:Human|User|Instruction|Input|Question)\b ?\d{0,3} ?:?|^#{2,6} *$"
    r"|^Context: [^\n]*\n(?=Question:)",
    re.MULTILINE,
)
_ASSISTANT_TURN = re.compile(
    r"<\|assistant\|>|<start_of_turn>\s{0,3}model\b|\[/INST\]"
    r"|<\|(?:im_start|start_header_id)\|>\s{0,3}assistant\b(?:<\|end_header_id\|>)?"
    r"|\bASSISTANT ?:|(?:^|(?<=[.!?)>]) ?)[Aa]ssistant(?: ?:|\n)|(?<=\w)assistant\n\n"
    r"|(?<!#)#{2,6} ?(?:Assistant|Response)\b ?:?",
    re.MULTILINE,
)

_QUESTION = re.compile(
    rf"(?P<options>\b(?-i:Options|Choices|OPTIONS|CHOICES) ?:)|{USER}"
    # "Question 2:", "Next question:", "Q."
    r"|^ ?(?:the |another )?(?:next |new |follow-?up )?(?:question|q|problem|exercise|quiz)"
    r" ?(?:no\.? ?)?\d{0,3} ?(?:is ?)?[:.)]"
    r"|(?<!the )(?<!this )\b(?-i:Q|Question) ?\d{0,3}:"
    # A line that asks something, before a list of options.
    r"|^(?!\(?[a-h][.):]|[^\n]{0,300}\b(?:options|choices|answer) ?:)"
    r"[^\n]{1,300}\?(?=\s\(?a[.):][^?]{1,200}\s\(?b[.):])",
    re.MULTILINE | re.IGNORECASE,
)
_REPLY = re.compile(r"\b(?:answer|response) ?:", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.!?\n]*[.!?\n]|[^.!?\n]+")


def clean(raw: str) -> str:
    """The raw text as the rest of the package reads it.

    NFC; plain quotes, dashes and spaces; no blank lines; special tokens dropped or reduced to the
    marks of a turn.
    """
    if len(raw) > HEAD_CHARS + TAIL_CHARS:
        raw = f"{raw[:HEAD_CHARS]}\n{raw[-TAIL_CHARS:]}"
    return tidy(_turns(_USER_LINE.sub(f"\n{USER}", normal(raw))))


def normal(text: str) -> str:
    """NFC, with one character for each kind of quote, dash and line break, and none unseen."""
    if text.isascii():
        return text.translate(_CHARACTERS)
    return unicodedata.normalize("NFC", _without_stacks(text.translate(_CHARACTERS)))


def _without_stacks(text: str) -> str:
    """At most 30 combining marks in a row (the stream-safe format of UAX 15).

    Putting a long row of them in order takes time that grows with its square.
    """
    kept: list[str] = []
    row = 0
    for character in text:
        row = row + 1 if unicodedata.combining(character) else 0
        if row <= 30:
            kept.append(character)
    return "".join(kept)


def tidy(text: str) -> str:
    """Single spaces, no blank lines."""
    return re.sub(r" ?\n[ \n]*", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()


def sentences(text: str) -> list[str]:
    """Pieces that end with a full stop, a mark or a line break; together they are the text."""
    return _SENTENCE.findall(text)


def own_text(raw: str) -> str:
    """The first thing that the model says, otherwise unchanged: for answers of any length.

    Only special tokens count as turns of a user here: a long answer may well quote a question.
    """
    before, *turns = re.split(f"([{USER}{ASSISTANT}])", _turns(raw))
    replies = (text for who, text in zip(turns[::2], turns[1::2], strict=True) if who == ASSISTANT)
    return next(filter(None, map(_first_turn, (before, *replies))), "")


def own_answers(text: str, *, restates: Callable[[str], bool]) -> Iterator[str]:
    """The pieces of a clean text that may hold the answer; the first that says anything counts.

    That is what stands before any question, or, where nothing was said yet or where a question
    restates our options (`restates`), what follows that question. Other questions are invented.
    """
    first, *questions = _split_at_questions(text)
    yield _first_turn(first)
    silent = all(s.endswith("?") or not s.strip(_MARKS) for s in sentences(first))
    for question in questions:
        if not (silent or restates(question)):
            return
        silent = False
        yield _first_turn(_after_echo(question))


def _turns(text: str) -> str:
    text = _RESIDUE.sub(" ", text)
    text = _USER_TURN.sub(f"\n{USER}", text)
    text = _ASSISTANT_TURN.sub(f"\n{ASSISTANT}", text)
    return _END_TOKEN.sub(END, text)


def _split_at_questions(text: str) -> list[str]:
    """Cuts before each question or turn of the user. A question keeps its list of options, and a
    rationale is not cut: its summary may well say "Question:"."""
    start, end = structured.span(text) or (0, 0)
    cuts = [0]
    may_list = False
    for found in _QUESTION.finditer(text):
        turn_begins = len(cuts) > 1 and text[cuts[-1] : found.start()].strip() == USER
        if turn_begins or start < found.start() < end:
            continue
        if may_list and found["options"]:
            may_list = False
        else:
            cuts.append(found.start())
            may_list = not found["options"]
    return [text[a:b] for a, b in zip(cuts, [*cuts[1:], len(text)], strict=True)]


def _after_echo(question: str) -> str:
    """What follows a question: its reply where one is marked, else what follows its options, its
    question mark, or its line."""
    if ASSISTANT in question:
        return question.partition(ASSISTANT)[2]
    if reply := _REPLY.search(question):
        return question[reply.start() :]
    if question.startswith(USER) and END in question:
        return question.partition(END)[2]
    if listed := next((m for m in _QUESTION.finditer(question) if m["options"]), None):
        return question[listed.end() :]
    return question.partition("?" if "?" in question else "\n")[2]


def _first_turn(text: str) -> str:
    """The text up to its first end token."""
    return text.strip(_MARKS).partition(END)[0].replace(ASSISTANT, "").strip()
