"""Answers that several processes extract, and how many are done."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

import pytest

from harness.core.errors import HarnessError
from harness.core.progress import Silent
from harness.core.types import Prediction
from harness.extract import extract_choice
from harness.run.extraction import extract_all
from harness.run.scoring import extract_again


def raws(number: int) -> list[Prediction]:
    return [
        Prediction(
            sample_id=str(i), raw=f"The answer is {'ABC'[i % 3]}.", answer=None, rule="",
            target=0, choices=("x", "y", "z"),
        )
        for i in range(number)
    ]  # fmt: skip


class Counted(Silent):
    """Keeps what it is told."""

    told: list[int]

    def advance(self, count: int = 1, *, tokens: int = 0, loss: float | None = None) -> None:
        del tokens, loss
        self.told.append(count)


@pytest.mark.process
def test_processes_extract_what_one_does() -> None:
    """In the same order, by a function that cannot be imported; and they say how far they are."""
    again = partial(extract_again, read=lambda *text: extract_choice(*text, finished=True))
    told: list[int] = []
    counted = type("Told", (Counted,), {"told": told})
    one = extract_all(raws(1100), again)
    several = extract_all(raws(1100), again, workers=2, progress=counted)
    assert one == several
    assert [p.answer for p in one[:4]] == [0, 1, 2, 0]
    assert sum(told) == 1100
    assert len(told) == 9


@pytest.mark.process
def test_a_worker_that_dies_is_an_error() -> None:
    """And not an endless wait."""

    def die(prediction: Prediction) -> Prediction:
        if prediction.sample_id == "200":
            os._exit(1)
        return replace(prediction, answer=0)

    with pytest.raises(HarnessError, match="has died"):
        extract_all(raws(300), die, workers=2)
