"""The model's own turn of a written answer: nothing is cut at words of a sentence.

"Log in with USER: root" and "close it with </s>" are sentences; a template's turn begins a line, or
follows the end of a sentence, and looks like one.
"""

from __future__ import annotations

import re

from harness.extract.aligned import Aligned

_SPECIAL = r"<\|[\w ]{1,40}\|>|</s>|<(?:eos|end_of_turn|end_of_utterance|pad|unk)>"
_RESIDUE_AT_START = re.compile(
    r"\s*(?:<s>|<\|(?:begin_of_text|startoftext|endoftext|bos)\|>|<(?:bos|pad|unk)>|\s)+"
)
_RESIDUE_AT_END = re.compile(rf"\s*(?:(?:{_SPECIAL}|<s>|\[PAD\]|\s)+)\Z")
_GROUNDING = re.compile(
    r"<object>(?:<[^<>\n]{1,40}>){0,40}</object>|<patch_index_\d{1,4}>|</?(?:phrase|grounding)>"
)
_ASSISTANT = re.compile(
    r"<\|assistant\|>\s*|<start_of_turn>\s{0,3}model\b\s*|\[/INST\]\s*"
    r"|<\|(?:im_start|start_header_id)\|>\s{0,3}assistant\b(?:<\|end_header_id\|>)?\s*"
    r"|^(?:ASSISTANT|Assistant) ?:\s*|^#{2,6} ?(?:Assistant|Response) ?:?\s*|\A\s*assistant\n\n"
    r"|(?<=[.!?:>]) (?:ASSISTANT|Assistant) ?:\s*",
    re.MULTILINE,
)
_USER = re.compile(
    r"<\|(?:user|human|system)\|>|<start_of_turn>\s{0,3}user"
    r"|<\|(?:im_start|start_header_id)\|>\s{0,3}(?:user|system)\b"
    r"|^(?:USER|HUMAN|User|Human) ?:|(?<=[.!?>]) (?:USER|HUMAN) ?:"
    r"|^#{2,6} ?(?:Human|User|Instruction|Input) ?:?|\[INST\]|^(?:user|system)\n\n",
    re.MULTILINE,
)
_END = re.compile(_SPECIAL)
_NAMED_TURN = re.compile(r"\w+ ?:")
_WORD_BEFORE = re.compile(r"[\w,;('\"`] ?['\"`(]?\Z")
_WORD_AFTER = re.compile(r"['\"`)]? ?[a-z0-9,;.]")


def own_turn(text: Aligned) -> Aligned:
    """What the model says first, otherwise unchanged."""
    text = text.sub(_GROUNDING, " ")
    if found := _RESIDUE_AT_START.match(text.text):
        text = text[found.end() :]
    text = _after_echo(text)
    if (end := _end_of_turn(text.text)) is not None:
        text = text[:end]
    if found := _RESIDUE_AT_END.search(text.text):
        text = text[: found.start()]
    return text.stripped()


def _after_echo(text: Aligned) -> Aligned:
    """What follows the first mark of the assistant, where a turn of the user begins the text."""
    reply = _ASSISTANT.search(text.text)
    if reply and (not text.text[: reply.start()].strip() or _USER.match(text.text)):
        return text[reply.end() :]
    return text


def _end_of_turn(text: str) -> int | None:
    """Where an end token, or another turn of the user or the assistant, ends the answer."""
    last_reply = max((found.start() for found in _ASSISTANT.finditer(text)), default=-1)
    ends = (
        next(
            (mark.start() for mark in marks.finditer(text) if _is_turn(text, mark, last_reply)),
            None,
        )
        for marks in (_END, _USER, _ASSISTANT)
    )
    return min((end for end in ends if end is not None), default=None)


def _is_turn(text: str, mark: re.Match[str], last_reply: int) -> bool:
    """True where a mark is one of the template, and not a word of the answer."""
    before, after = text[max(0, mark.start() - 4) : mark.start()], text[mark.end() :][:4]
    if mark[0] == "[INST]" and not before.strip():
        return last_reply > mark.start()
    if _NAMED_TURN.match(mark[0]):
        return before == "" or before.endswith("\n\n") or last_reply >= mark.start()
    quoted = _WORD_BEFORE.search(before) and (before.endswith(" ") or _WORD_AFTER.match(after))
    return not quoted
