"""What a distillation is set to, and the formulas that follow from it."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain

import pytest

from distill.config import PRESETS, DistillConfig, preset
from distill.objectives.structured import Structured
from distill.training.schedule import learning_rate, order
from harness.core.errors import HarnessError


def test_the_paper_preset_is_table_3() -> None:
    """Adam, one epoch, 1.4e-5, batches of 16, no accumulation, 512 new tokens, 2,000 questions."""
    paper = PRESETS["paper"]
    assert paper == DistillConfig()
    assert (paper.optimizer, paper.epochs, paper.learning_rate) == ("adam", 1, 1.4e-5)
    assert (paper.batch_size, paper.accumulation, paper.max_new_tokens) == (16, 1, 512)
    assert (paper.samples, paper.sample) == (2000, "first")
    assert (paper.beta1, paper.beta2, paper.epsilon) == (0.9, 0.95, 1e-6)


def test_the_code_preset_differs_where_the_published_script_does() -> None:
    """And nowhere else."""
    paper, code = PRESETS["paper"].to_json(), PRESETS["code"].to_json()
    assert {k: (paper[k], code[k]) for k in paper if paper[k] != code[k]} == {
        "optimizer": ("adam", "adam8bit"),
        "learning_rate": (1.4e-5, 1e-5),
        "batch_size": (16, 8),
        "cosine": ("full", "cut"),
        "rate_set": ("before", "after"),
        "precision": ("bfloat16", "float16"),
        "loss_scaling": (True, False),
    }


@pytest.mark.parametrize("name", PRESETS)
def test_json_and_back(name: str) -> None:
    """A config survives its JSON, with every field."""
    assert DistillConfig.from_json(PRESETS[name].to_json()) == PRESETS[name]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "batch_size cannot be 0"),
        ({"batch_size": 2.5}, "a whole number"),
        ({"epochs": True}, "a whole number"),
        ({"learning_rate": math.nan}, "learning_rate cannot be nan"),
        ({"learning_rate": math.inf}, "above 0"),
        ({"beta2": 1.0}, "below 1"),
        ({"warmup": 1.0}, "below 1"),
        ({"accumulation": 3}, "must divide batch_size, 16"),
        ({"optimizer": "sgd"}, "adam or adamw or adam8bit"),
        ({"precision": None}, "float32 or bfloat16 or float16"),
        ({"train": ()}, "Nothing would be trained"),
        ({"train": ("text",)}, "vision or projector or embeddings or layers or head"),
        ({"train": ("head", "head")}, "twice"),
        ({"without": ("conclusion",)}, "summary or caption or reasoning"),
        ({"objective": "answer", "without": ("summary",)}, "no stages"),
        ({"objective": "answer", "conclusion_weight": 0.0}, "No token"),
        ({"clip": 0}, "above 0"),
        ({"precision": "float16", "loss_scaling": False}, "the moments of adam become 0"),
        ({"learning_rat": 1e-5}, "no setting 'learning_rat'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(changes: dict[str, object], words: str) -> None:
    """The message names the field, its value and what is valid."""
    with pytest.raises(HarnessError) as caught:
        preset("paper", **changes)
    assert words in str(caught.value)


def test_an_unknown_preset_is_refused() -> None:
    """With the names of those that there are."""
    with pytest.raises(HarnessError, match="paper, code"):
        preset("papr")


def test_stages_of_a_target() -> None:
    """In the paper's order, less those left out."""
    assert Structured().stages == ("summary", "caption", "reasoning", "conclusion")
    assert Structured(without=("caption",)).stages == ("summary", "reasoning", "conclusion")


@pytest.mark.parametrize(
    ("name", "step", "rate"),
    [
        # 100 steps. paper: x = n / 100; the peak is at x = 0.1, the middle of the cosine at 0.55.
        ("paper", 1, 0.1 + 0.9 * 0.1),
        ("paper", 5, 0.1 + 0.9 * 0.5),
        ("paper", 10, 1.0),
        ("paper", 55, 0.55),
        ("paper", 100, 0.1),
        # code: x = (n - 1) / 100; the cosine's middle is at x = 0.6, and it ends early.
        ("code", 1, 0.1),
        ("code", 6, 0.55),
        ("code", 11, 1.0),
        ("code", 61, 0.55),
        ("code", 100, 0.1 + 0.45 * (1 + math.cos(math.pi * 0.89))),
    ],
)
def test_learning_rates(name: str, step: int, rate: float) -> None:
    """A tenth of the peak at first, the peak after a tenth of the steps, then a cosine."""
    config = PRESETS[name]
    assert learning_rate(step, 100, config) == pytest.approx(rate * config.learning_rate)


def test_the_cut_cosine_ends_at_0_122_of_the_peak() -> None:
    """As in the published code, whose cosine is drawn over all the steps."""
    config = replace(PRESETS["code"], rate_set="before")
    assert learning_rate(125, 125, config) / config.learning_rate == pytest.approx(0.122, abs=5e-4)


def test_every_sample_once_an_epoch() -> None:
    """2,000 samples are 125 steps of 16; each epoch has its order, and its last step the rest."""
    assert [len(step) for step in order([9] * 2000, preset("paper"))] == [16] * 125
    steps = order([9] * 10, preset("paper", batch_size=4, epochs=2))
    assert [len(step) for step in steps] == [4, 4, 2, 4, 4, 2]
    first, second = list(chain(*steps[:3])), list(chain(*steps[3:]))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert first != list(range(10))
    assert steps == order([9] * 10, preset("paper", batch_size=4, epochs=2))
    assert steps != order([9] * 10, preset("paper", batch_size=4, epochs=2, seed=1))


@pytest.mark.parametrize("bucket", [2, 5, 100])
def test_bucketing_brings_equal_lengths_together(bucket: int) -> None:
    """The same samples, with less padding; batches are as large as without it."""
    lengths = [10 + 7 * (n % 13) for n in range(103)]

    def padding(steps: list[list[int]]) -> int:
        return sum(max(lengths[i] for i in step) - lengths[i] for step in steps for i in step)

    plain = order(lengths, preset("paper", batch_size=4))
    sorted_ = order(lengths, preset("paper", batch_size=4, bucket=bucket))
    assert sorted(chain(*sorted_)) == list(range(103))
    assert [len(step) for step in sorted_] == [len(step) for step in plain]
    assert padding(sorted_) < 0.8 * padding(plain)
    firsts = [lengths[step[0]] for step in sorted_]
    assert firsts != sorted(firsts)
