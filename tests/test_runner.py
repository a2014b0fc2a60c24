"""The one loop, with toy models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from harness.errors import HarnessError, SampleError
from harness.runner import GIVE_UP_AFTER, Asking, Runner, batches
from harness.types import (
    Decoding,
    ImageRef,
    Output,
    Prompt,
    Reading,
    Sample,
    SampleSet,
    Style,
    Task,
)


class Letter:
    """Answers "A" to everything; each forward pass takes a second of its own clock."""

    description: dict[str, Any] = {}

    def __init__(self, *, largest: int = 99, broken: Sequence[str] = ()) -> None:
        self.now = 0.0
        self.largest = largest
        self.broken = set(broken)
        self.sizes: list[int] = []
        self.limits: list[int] = []

    def clock(self) -> float:
        return self.now

    def prepare(self, prompts: Sequence[Prompt]) -> Sequence[Prompt]:
        self.now += 0.5
        return prompts

    def generate(self, prepared: Sequence[Prompt], decoding: Decoding) -> list[Output]:
        self.now += 1.0
        if len(prepared) > self.largest:
            raise MemoryError("out of memory")
        if any(p.question in self.broken for p in prepared):
            raise ValueError("this one breaks")
        self.sizes.append(len(prepared))
        self.limits.append(decoding.max_new_tokens)
        return [Output("A", p.text, 10, 2) for p in prepared]


def ask(sample: Sample, style: Style) -> Prompt:
    for image in sample.images:
        image.read()
    return Prompt(
        text=sample.question, question=sample.question, choices=sample.choices, style=style
    )


TASK = Task(
    name="toy",
    title="Toy",
    load=lambda _: SampleSet(samples=(), total=0),
    prompt=ask,
    read=lambda raw, choices: Reading(0 if raw == "A" else None, "letter"),
    metrics=(),
)


def corrupt() -> bytes:
    raise SampleError("7.png is no picture")


def make_samples(n: int, *, bad: Sequence[int] = ()) -> list[Sample]:
    return [
        Sample(
            id=str(i),
            question=f"q{i}",
            target=i % 2,
            choices=("x", "y"),
            images=(ImageRef("7.png", corrupt),) if i in bad else (),
        )
        for i in range(n)
    ]


def make_runner(model: Letter, asking: Asking | None = None) -> Runner:
    return Runner(
        model,
        TASK,
        asking=asking or Asking(style="direct"),
        decoding=Decoding(max_new_tokens=9),
        digests={},
        clock=model.clock,
    )


def test_batches_are_cut_from_all_samples_and_repeated_whole() -> None:
    """A resumed run has the batches of an uninterrupted one, less those that are finished."""
    samples = make_samples(10)
    ids = [[s.id for s in batch] for batch in batches(samples, 4, done=["0", "1", "2", "3", "5"])]
    assert ids == [["4", "5", "6", "7"], ["8", "9"]]
    assert list(batches(samples, 4, done=[s.id for s in samples])) == []


def test_a_batch_becomes_predictions() -> None:
    """Each sample has its answer, its verdict, and an equal share of the batch's time."""
    model = Letter()
    made = make_runner(model).answer(make_samples(4))
    assert [p.correct for p in made] == [True, False, True, False]
    assert [p.sample_id for p in made] == ["0", "1", "2", "3"]
    assert {p.seconds for p in made} == {1.5 / 4}
    assert {p.preprocess_seconds for p in made} == {0.5 / 4}
    assert made[0].prompt == "q0"
    assert (made[0].tokens, made[0].tokens_in) == (2, 10)


def test_a_bad_sample_is_a_row_with_a_reason() -> None:
    """A picture that cannot be read costs its own answer only."""
    made = make_runner(Letter()).answer(make_samples(4, bad=[2]))
    assert [p.error for p in made] == [None, None, "7.png is no picture", None]
    assert made[2].correct is None
    assert made[2].seconds is None
    assert made[3].answer == 0


def test_a_sample_that_breaks_the_model_is_found_by_halving() -> None:
    """The other samples of its batch are answered all the same."""
    made = make_runner(Letter(broken=["q5"])).answer(make_samples(8))
    assert [p.sample_id for p in made if p.error] == ["5"]
    assert made[5].error == "ValueError: this one breaks"
    assert all(p.answer == 0 for p in made if not p.error)


def test_a_batch_that_does_not_fit_is_halved() -> None:
    """Out of memory loses nothing."""
    model = Letter(largest=3)
    made = make_runner(model).answer(make_samples(8))
    assert all(p.error is None for p in made)
    assert model.sizes == [2, 2, 2, 2]


def test_a_model_that_answers_nothing_ends_the_run() -> None:
    """A wrong set-up is told at once, not after a night of error rows."""
    runner = make_runner(Letter(largest=0))
    with pytest.raises(HarnessError, match=f"first {GIVE_UP_AFTER} samples"):
        runner.answer(make_samples(32))


def test_many_bad_pictures_do_not_end_the_run() -> None:
    """Failures of the data are not failures of the model."""
    made = make_runner(Letter()).answer(make_samples(20, bad=range(20)))
    assert all(p.error for p in made)


def test_warming_up_is_short_and_leaves_no_trace() -> None:
    """A few tokens, outside the clock of any sample."""
    model = Letter()
    runner = make_runner(model)
    assert runner.warm_up(make_samples(4)) == 1.5
    assert model.limits == [4]
    assert runner.answer(make_samples(1))[0].seconds == 1.5


class Silent(Letter):
    def generate(self, prepared: Sequence[Prompt], decoding: Decoding) -> list[Output]:
        return super().generate(prepared, decoding)[:-1]


def test_a_model_that_drops_a_row_is_noticed() -> None:
    """Fewer outputs than prompts would shift every answer behind the gap."""
    with pytest.raises(HarnessError, match="0 outputs for 1 prompts"):
        make_runner(Silent()).answer(make_samples(16))
