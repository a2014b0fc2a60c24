"""Shortening the context text of a prompt that is longer than the model's context.

The beginning and the end stay, the middle goes. The task words the prompt again with the shorter
text, so nothing need be known of its wording.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.core.types import Prompt

GAP = " [...] "
"""Stands where something was left out."""
SLACK = 8
"""Tokens that may be left free: fewer are not worth another try."""
TRIES = 16
GUESSES = 4
"""Tries that take tokens to lie evenly in the text; the others halve what is left."""


def without_middle(text: str, keep: int) -> str:
    """`text` with so many of its characters, from its beginning and its end."""
    if keep >= len(text):
        return text
    if keep <= 0:
        return ""
    head, tail = (keep + 1) // 2, keep // 2
    return f"{text[:head].rstrip()}{GAP}{text[len(text) - tail :].lstrip()}".strip()


def fit(
    worded: Callable[[str], Prompt],
    text: str,
    *,
    count: Callable[[Prompt], int],
    whole: int,
    aim: int,
) -> tuple[Prompt, int]:
    """The prompt with as much of its context text as fits, and its tokens.

    Args:
        worded: the prompt with a given context text.
        text: all of it; it is longer than nothing.
        count: the tokens of a prompt.
        whole: the tokens of the prompt with all of it, more than `aim`.
        aim: tokens that it may have. Without any context text it may still have more.
    """
    best = worded("")
    least = count(best)
    low, high = 0, len(text)
    at_low, at_high = least, whole
    for number in range(TRIES):
        if aim - at_low <= SLACK or high - low <= 1:
            break
        share = (aim - at_low) / max(1, at_high - at_low) if number < GUESSES else 0.5
        keep = min(max(low + 1, low + int(share * (high - low))), high - 1)
        prompt = worded(without_middle(text, keep))
        tokens = count(prompt)
        if tokens <= aim:
            best, low, at_low = prompt, keep, tokens
        else:
            high, at_high = keep, tokens
    return best, at_low
