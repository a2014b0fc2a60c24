"""Which tokens of teacher and student are the same: their logits can be compared at these alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import Exit, HarnessError

if TYPE_CHECKING:
    from torch import Tensor

    from harness.sources.weights import Weights

_IMPOSSIBLE = -1e4
"""The logit of a token that the teacher does not have, as a difference from the others."""


@dataclass(frozen=True)
class SharedTokens:
    """The tokens that teacher and student share, and what they are in each."""

    teacher: tuple[int, ...]
    """The ids that they have with the teacher ..."""
    student: tuple[int, ...]
    """... and with the student, in rising order."""
    size: int
    """Tokens of the student."""
    end: int
    """The teacher's end token."""
    hash: str
    """Of both vocabularies."""

    def by_teacher(self, tokens: Sequence[int]) -> list[int]:
        """The student's tokens by the teacher's ids; what the teacher does not have, as the rows of
        a head that stand for no token, is its end token."""
        return [self._by_teacher.get(token, self.end) for token in tokens]

    @cached_property
    def _by_teacher(self) -> dict[int, int]:
        return dict(zip(self.student, self.teacher, strict=True))

    def by_student(self, logits: Tensor) -> Tensor:
        """The teacher's logits of the student's tokens, (T, size), from those of its own, (T, V);
        what it does not have is impossible."""
        there, here = self.within(logits.shape[1])
        found = logits.new_full((len(logits), self.size), _IMPOSSIBLE)
        found[:, here] = logits[:, there]
        return found

    def within(self, head: int) -> tuple[list[int], list[int]]:
        """The ids of the tokens by teacher and by student, of those that the teacher's head has:
        that of Llama 3.2 Vision has none for a picture."""
        if head not in self._within:
            pairs = zip(self.teacher, self.student, strict=True)
            there, here = zip(*(pair for pair in pairs if pair[0] < head), strict=True)
            self._within[head] = list(there), list(here)
        return self._within[head]

    @cached_property
    def _within(self) -> dict[int, tuple[list[int], list[int]]]:
        """Rows of the head -> what `within` has found."""
        return {}


def share_tokens(teacher: Weights, base: Path) -> SharedTokens:
    """The tokens of teacher and student, where both vocabularies are equal or can be mapped: all
    but special tokens are in both, under whatever ids, and the end token is the same.

    Raises:
        HarnessError: says where they differ.
    """
    from transformers import AutoTokenizer

    import harness.models  # noqa: F401  # makes Moondream known to the auto classes
    from harness.checkpoints import pretrained

    name, folder = teacher.checkpoint.name, teacher.checkpoint.folder
    tokenizers = [pretrained.load(AutoTokenizer, each) for each in (folder, base)]
    theirs, ours = (each.get_vocab() for each in tokenizers)
    where = _difference(*tokenizers)
    if where is None:
        shared = sorted((ours[token], theirs[token]) for token in set(ours) & set(theirs))
        student, them = zip(*shared, strict=True)
        content = sorted(ours.items()) if ours == theirs else shared
        key = sha256(json.dumps(content).encode()).hexdigest()
        end = theirs[tokenizers[0].eos_token]
        return SharedTokens(them, student, max(ours.values()) + 1, end, key)
    raise HarnessError(
        "The teacher's logits can be learned only where the vocabularies are equal, or can be "
        f"mapped to each other: {name} has {len(theirs):,} tokens, the student {len(ours):,}.",
        known=where,
        remedy="--teacher with the student's tokenizer, or --objective structured",
        code=Exit.MISSING,
    )


def _difference(theirs: Any, ours: Any) -> str | None:
    """Why the vocabularies of two tokenizers cannot be mapped to each other; None: they can be."""
    if theirs.eos_token != ours.eos_token:
        return f"The end tokens are {theirs.eos_token!r} and {ours.eos_token!r}."
    first, second = ({*each.get_vocab()} - _special(each) for each in (theirs, ours))
    if first == second:
        return None
    owner, alone = ("student", second - first) if second - first else ("teacher", first - second)
    return f"Only the {owner} has {min(alone)!r}, of {len(alone):,} such tokens."


def _special(tokenizer: Any) -> set[str]:
    """The tokens that stand for no text."""
    added = tokenizer.added_tokens_decoder.values()
    return {*tokenizer.all_special_tokens, *(str(each) for each in added if each.special)}
