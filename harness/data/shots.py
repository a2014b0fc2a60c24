"""Few-shot examples: answered questions of the train split, never the question itself.

Data whose rows name no split have the same rows in every split, and published splits share
questions, too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache, cached_property
from hashlib import sha256

from harness.core.errors import HarnessError, SampleError
from harness.core.images import ImageRef
from harness.core.prompts import shots
from harness.core.types import Sample, Task, gold_text
from harness.data.fingerprint import blank


class Shots:
    """For each question, the first others of the train split.

    Args:
        candidates: the train split.
        number: how many are shown.
    """

    def __init__(self, task: Task, candidates: Sequence[Sample], number: int) -> None:
        self._task = task
        self._candidates = [_Question(sample) for sample in candidates] if number else []
        self._number = number
        self._chosen: dict[str, tuple[int, ...]] = {}
        self._text = cache(self._shown)

    def __call__(self, sample: Sample) -> tuple[str, ...]:
        """The examples for `sample`, as text; raises HarnessError if there are too few."""
        if sample.id not in self._chosen:
            self._chosen[sample.id] = self._choose(sample)
        return tuple(self._text(place) for place in self._chosen[sample.id])

    @cached_property
    def usual(self) -> tuple[str, ...]:
        """The examples for a question that is not among the first ones itself."""
        return tuple(self._text(at) for at in range(min(self._number, len(self._candidates))))

    def _choose(self, sample: Sample) -> tuple[int, ...]:
        question = _Question(sample)
        chosen: list[int] = []
        for place, candidate in enumerate(self._candidates):
            if len(chosen) == self._number:
                break
            if not candidate.is_same(question):
                chosen.append(place)
        if len(chosen) < self._number:
            raise HarnessError(
                f"--shots {self._number}: there are {len(chosen)} other questions to show before "
                f"question {sample.id!a}.",
                known=f"The train split has {len(self._candidates):,}; a question is never shown "
                "with its own answer.",
                remedy="Give fewer --shots, or data with more questions in their train split.",
            )
        return tuple(chosen)

    def _shown(self, place: int) -> str:
        return shots([blank(self._candidates[place].sample)], self._task)[0]


class _Question:
    """A question to compare with others."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample

    def is_same(self, other: _Question) -> bool:
        """Whether both are the same question, by their ids or by their pictures and texts.

        The options need not be the same where there is a picture; where there is none, a question
        such as "Which is correct?" is identified by its options or its right answer.
        """
        ours, theirs = self.sample, other.sample
        if ours.id == theirs.id and not (ours.numbered and theirs.numbered):
            return True
        if _plain(ours.question) != _plain(theirs.question):
            return False
        if self._pictures and other._pictures:
            return self._pictures == other._pictures or self._pixels == other._pixels
        if _plain(ours.context) != _plain(theirs.context):
            return False
        return self._options == other._options or self._answer == other._answer

    @cached_property
    def _pictures(self) -> frozenset[str]:
        return frozenset(_digest(image) for image in self.sample.images)

    @cached_property
    def _pixels(self) -> frozenset[str]:
        """The same picture in another kind of file is the same."""
        return frozenset(_pixel_digest(image) for image in self.sample.images)

    @cached_property
    def _options(self) -> frozenset[str] | None:
        return frozenset(map(_plain, self.sample.choices)) or None

    @cached_property
    def _answer(self) -> str:
        return _plain(gold_text(self.sample.target, self.sample.choices))


@cache
def _plain(text: str) -> str:
    """A text without what may differ between copies: case, punctuation, white space, forms."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(words) or text.strip()


def _digest(image: ImageRef) -> str:
    try:
        return image.digest()
    except SampleError:
        return f"unreadable {image.label}"


def _pixel_digest(image: ImageRef) -> str:
    try:
        picture = image.decode()
    except SampleError:
        return f"unreadable {image.label}"
    return sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()
