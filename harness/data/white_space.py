"""White space and Unicode forms of questions and answers."""

from __future__ import annotations

import unicodedata

from harness.core.image_marks import without_marks


def one_line(text: str) -> str:
    """NFC, with each run of white space as one space and none at the ends (the paper, 4.1), and
    without marks of pictures."""
    return " ".join(unicodedata.normalize("NFC", without_marks(text)).split())


def lines(text: str) -> str:
    """NFC, with white space collapsed within each line, and without marks of pictures; line breaks
    are kept.

    Long answers keep their lines because ROUGE-Lsum is computed line by line.
    """
    normal = unicodedata.normalize("NFC", without_marks(text))
    return "\n".join(" ".join(line.split()) for line in normal.splitlines()).strip()
