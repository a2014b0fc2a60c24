"""The options that a question lists in its own text: "Which way? A. Left B. Right"."""

from __future__ import annotations

import re
from string import ascii_uppercase

_LETTER = re.compile(r"(?:^|(?<=[\s,;]))\(?([A-Z])[.:)]\s*(?=[^\s])")


def listed_options(question: str) -> tuple[str, ...]:
    """The texts of the options, from A on; none where there are not at least two."""
    starts: list[re.Match[str]] = []
    for found in _LETTER.finditer(question):
        if found[1] == "A":  # the last list counts
            starts = [found]
        elif starts and found[1] == ascii_uppercase[len(starts)]:
            starts.append(found)
    if len(starts) < 2:
        return ()
    ends = [found.start() for found in starts[1:]]
    # What follows the last option on its line's end is no part of it.
    ends.append(len(question[: starts[-1].end()]) + len(_last(question[starts[-1].end() :])))
    return tuple(
        question[found.end() : end].strip().rstrip(",;").strip()
        for found, end in zip(starts, ends, strict=True)
    )


def _last(text: str) -> str:
    """The last option: its line, or the text before a request for an answer."""
    line = text.split("\n", 1)[0]
    return re.split(r"\s(?=(?:Please|Answer)\b)", line, maxsplit=1)[0]
