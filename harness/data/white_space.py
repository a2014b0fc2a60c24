"""White space and Unicode forms of questions and answers."""

from __future__ import annotations

import unicodedata


def one_line(text: str) -> str:
    """NFC, with each run of white space as one space and none at the ends (the paper, 4.1)."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def lines(text: str) -> str:
    """NFC, with white space collapsed within each line; line breaks are kept.

    Long answers keep their lines because ROUGE-Lsum is computed line by line.
    """
    kept = (" ".join(line.split()) for line in unicodedata.normalize("NFC", text).splitlines())
    return "\n".join(kept).strip()
