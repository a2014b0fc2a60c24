"""What someone who misspelt a name may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

CUTOFF = 0.6
"""How alike two names must be, 0 to 1: see `difflib.get_close_matches`."""


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, upper and lower case being one; None: none is."""
    by_lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=CUTOFF)
    return by_lower[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence, with a space before it, that proposes the closest known name; "" for none."""
    found = closest(name, known)
    return f" Did you mean {found!r}?" if found else ""
