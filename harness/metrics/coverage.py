"""What the word metrics do not see: texts without words in ROUGE's alphabet, and texts that BLEU's
tokenizer leaves in one piece. Their scores are low whatever they say, so they are counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from harness.core.options import Tokenize

_ROUGE_LETTER: Final = re.compile(r"[a-z0-9]", re.IGNORECASE | re.ASCII)
_CHINESE: Final = "\u2e80-\u2fdf\u3100-\u312f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# Thai and Lao, Tibetan, Burmese, Khmer, kana, Yi, half-width kana, the rarer Chinese characters.
_OTHERS: Final = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\ua000-\ua48f"
    "\uff66-\uff9f\U00020000-\U0003ffff"
)
_UNSPLIT: Final[Mapping[Tokenize, re.Pattern[str] | None]] = MappingProxyType(
    {
        "13a": re.compile(f"[{_CHINESE}{_OTHERS}]"),
        "intl": re.compile(f"[{_CHINESE}{_OTHERS}]"),
        "zh": re.compile(f"[{_OTHERS}]"),
        "char": None,
    }
)
"""Letters of scripts without spaces that a tokenizer does not separate: it takes a whole clause of
them for one word."""


def is_outside_rouge(text: str) -> bool:
    """Whether a text has something to say, and ROUGE drops most of its letters, or all."""
    kept = len(_ROUGE_LETTER.findall(text))
    if text.isascii():
        return not kept and bool(text.strip())
    return 2 * kept < sum(map(str.isalnum, text)) or (not kept and bool(text.strip()))


def is_unsplit(text: str, tokenize: Tokenize) -> bool:
    """Whether most letters of a text are of scripts whose words this tokenizer does not find."""
    letters = _UNSPLIT[tokenize]
    if letters is None or text.isascii():
        return False
    return 2 * len(letters.findall(text)) > sum(map(str.isalnum, text))


def note_on_rouge(texts: Sequence[str], references: Sequence[str]) -> str:
    """How many pairs ROUGE cannot judge; "" for none."""
    found = _count(texts, references, is_outside_rouge)
    return f"{found} with a text whose letters ROUGE (a-z, 0-9) drops" if found else ""


def note_on_bleu(texts: Sequence[str], references: Sequence[str], tokenize: Tokenize) -> str:
    """How many pairs BLEU cannot judge with this tokenizer; "" for none."""
    found = _count(texts, references, lambda text: is_unsplit(text, tokenize))
    if not found:
        return ""
    better = "--tokenize char" if tokenize == "zh" else "--tokenize zh or char"
    return f"{found} with a text without spaces, which {tokenize} does not split: {better}"


def _count(
    texts: Sequence[str], references: Sequence[str], is_unseen: Callable[[str], bool]
) -> str:
    """The pairs in which either text is unseen: "3 of 5 pairs"; "" for none."""
    n = sum(is_unseen(t) or is_unseen(r) for t, r in zip(texts, references, strict=True))
    return f"{n:,} of {len(texts):,} pairs" if n else ""
