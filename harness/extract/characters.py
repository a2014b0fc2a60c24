"""One character for each kind of quote, dash, space and line break, and none that is unseen."""

from __future__ import annotations

import re
import unicodedata

from harness.extract.aligned import Aligned

PRIVATE = range(0xE000, 0xF900)
"""Characters that the package uses as its own marks; those of a raw text are dropped."""

_TABLE: dict[int, str | int | None] = {
    **{code: None for code in range(0x20) if chr(code) not in "\t\n\r"},
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},  # full-width forms
    **dict.fromkeys((0xAD, 0xFEFF, 0xFE0E, 0xFE0F), None),  # soft hyphen, variation selectors
    **dict.fromkeys((*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A)), None),
    **dict.fromkeys(PRIVATE, None),
    **dict.fromkeys(map(ord, "\r\x85\u2028\u2029"), "\n"),
    **dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u2032"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u00ab\u00bb\u300c\u300d\u300e\u300f"), '"'),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-"),
    **dict.fromkeys(map(ord, "\u3002\u0964\u06d4"), ".\n"),  # full stops; no space follows them
    **dict.fromkeys(map(ord, "\u3001\u060c"), ","),
    **dict.fromkeys(map(ord, "\u3010\u3014"), "["),
    **dict.fromkeys(map(ord, "\u3011\u3015"), "]"),
    0x061F: "?",
    0x2026: "...",
    0x2103: "\u00b0C",
    0x2109: "\u00b0F",
    0xBC: "1/4",
    0xBD: "1/2",
    0xBE: "3/4",
}
_TO_CHANGE = re.compile(f"[{re.escape(''.join(map(chr, _TABLE)))}]+")
_CLUSTER = re.compile(
    r"[\u1100-\u11ff]+|.[\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    r"\u06d6-\u06ed\u0900-\u0903\u093a-\u094f\u0981-\u0983\u09bc-\u09d7\u1dc0-\u1dff\u20d0-\u20ff"
    r"\u302a-\u302f\u3099\u309a\ufe20-\ufe2f]+",
    re.DOTALL,
)
_SPACES = re.compile(r"[^\S\n]{2,}|[^\S\n ]")
_PLAIN_SPACES = frozenset("\t\v\f")
_BLANK_LINES = re.compile(r" ?\n[ \n]*")


def normal(text: Aligned) -> Aligned:
    """NFC, with one character for each kind of quote, dash and line break, and none unseen."""
    text = text.translated(_TABLE, _TO_CHANGE)
    if text.text.isascii() or unicodedata.is_normalized("NFC", text.text):
        return text
    return text.sub(_CLUSTER, lambda found: _composed(found[0]))


def is_normal(text: str) -> bool:
    """True where `normal` changes nothing."""
    return text.isascii() and not _TO_CHANGE.search(text)


def _composed(cluster: str) -> str:
    """NFC of a character and its marks, of which at most 30 count (the stream-safe format of UAX
    15): putting a long row of them in order takes time that grows with its square."""
    return unicodedata.normalize("NFC", cluster[:31])


def tidy(text: Aligned) -> Aligned:
    """Single spaces, no blank lines, none at either end."""
    if "  " in text.text or not _PLAIN_SPACES.isdisjoint(text.text) or not text.text.isascii():
        text = text.sub(_SPACES, " ")
    if "\n\n" in text.text or "\n " in text.text or " \n" in text.text:
        text = text.sub(_BLANK_LINES, "\n")
    return text.stripped()
