"""Which questions are distilled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.errors import DataError
from harness.core.options import Selection
from harness.core.types import Sample
from harness.data.fingerprint import image_digests
from harness.data.selection import select
from harness.run.task_data import Data


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """The training questions: a split of a data set, or a selection of it."""

    data: Data
    limit: int | None = 2000
    """At most so many; None: all."""
    sample: Selection = "first"
    seed: int = 0
    """Of stratified selection."""

    def selected(self) -> list[Sample]:
        """The questions, in the data's order.

        Raises:
            DataError: their answers are not public.
        """
        samples = self.data.samples.samples
        if any(sample.target is None for sample in samples):
            raise DataError(
                f"The answers of the {self.data.options.split} split are not public: there is "
                "nothing to learn from.",
                remedy="Choose another --split.",
            )
        return select(samples, limit=self.limit, how=self.sample, seed=self.seed)

    def fingerprint(self) -> dict[str, Any]:
        """What must be equal for rationales to belong together; the limit may grow."""
        stratified = f"{self.sample}, seed {self.seed}"
        transparency = self.data.image_scan.transparency
        return {
            "task": self.data.task.name,
            "split": self.data.options.split,
            "data": self.data.fingerprint,
            **({"transparency": transparency} if transparency else {}),
            "sample": "first" if self.sample == "first" else stratified,
        }


def unseen(samples: Sequence[Sample], trained: Sequence[Sample]) -> list[Sample]:
    """Those of `samples` that are not in `trained`: no other is equal in question, options and
    pictures."""

    def words(sample: Sample) -> tuple[object, ...]:
        return sample.question, sample.choices

    both = {words(sample) for sample in trained} & {words(sample) for sample in samples}
    known = {
        (words(sample), *image_digests([sample]).values())
        for sample in trained
        if words(sample) in both
    }
    return [
        sample
        for sample in samples
        if words(sample) not in both
        or (words(sample), *image_digests([sample]).values()) not in known
    ]


def title_of(data: Data) -> str:
    """What cards call the questions: by their folder or file where they are the user's own."""
    return data.own_title or data.task.title
