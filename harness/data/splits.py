"""Names of splits: synonyms, and the splits that a file's name contains."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.core.errors import DataError

SPLITS = ("train", "validation", "val", "dev", "test", "minitrain", "minival", "minitest")
"""Words that name a split in the name of a file or a folder."""

_SYNONYMS = {"val": "validation", "test-dev": "testdev"}
_SYNONYMS |= {name: other for other, name in _SYNONYMS.items()}


def same_split(split: str) -> tuple[str, ...]:
    """The names of a split, the given one first: `val` is `validation`, `test-dev` is `testdev`."""
    other = _SYNONYMS.get(split)
    return (split,) if other is None else (split, other)


def splits_in(name: str, asked: str = "") -> set[str]:
    """The splits that are part of a name such as `test-00000-of-00001` or `ScienceQA_VAL`."""
    words = _words(name)
    found = set(words).intersection(SPLITS)
    own = _words(asked)
    if own and any(words[at : at + len(own)] == own for at in range(len(words))):
        found.add(asked.lower())
    return found


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", name.lower()) if word]


def wrong_split(where: str, split: str, there: Iterable[str]) -> DataError:
    """The error for a split that `where` does not have; `there` are those that it has."""
    names = sorted(ascii(name)[1:-1] for name in there)
    return DataError(
        f"{where} has no split {split!r}.",
        known=f"It has {', '.join(names[:20]) or 'none'}.",
        remedy=f"Choose one with --split, such as `--split {names[0]}`." if names else "",
    )
