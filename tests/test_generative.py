"""Four families that the library knows, through one adapter."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image

from harness.checkpoints import find_checkpoint
from harness.models.generative import GenerativeModel
from harness.models.loading import LoadOptions, load
from harness.types import Decoding, Prompt

FAMILIES = ("llava", "llava-next", "llava-cot", "idefics3")
GREEDY = Decoding(max_new_tokens=16)


def make_prompts(number: int, seed: int = 0) -> list[Prompt]:
    """Prompts of many lengths and picture shapes; every fourth has no picture."""
    chance = random.Random(seed)
    prompts = []
    for place in range(number):
        size = chance.randint(20, 200), chance.randint(20, 200)
        picture = Image.frombytes("RGB", size, chance.randbytes(3 * size[0] * size[1]))
        text = "Which of these is it? " * chance.randint(1, 8) + "Options: A: x, B: y"
        prompts.append(
            Prompt(
                text=text,
                question="Which of these is it?",
                choices=("x", "y"),
                images=() if place % 4 == 3 else (picture,),
            )
        )
    return prompts


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tiny) -> GenerativeModel:
    folder: Path = tiny(request.param)
    return load(find_checkpoint(str(folder)), LoadOptions(device="cpu", dtype="float32"))


def answers(model: GenerativeModel, prompts: list[Prompt], size: int) -> list[str]:
    found = []
    for start in range(0, len(prompts), size):
        batch = model.prepare(prompts[start : start + size])
        found += [output.raw for output in model.generate(batch, GREEDY)]
    return found


@pytest.mark.parametrize("size", [3, 8])
def test_batched_answers_equal_single_ones(model: GenerativeModel, size: int) -> None:
    """A row's answer does not depend on what else is in its batch, nor on its place in it."""
    prompts = make_prompts(8)
    single = answers(model, prompts, 1)
    assert len(set(single)) > 1
    assert answers(model, prompts, size) == single
    assert answers(model, prompts[::-1], size) == single[::-1]


def test_the_picture_is_seen(model: GenerativeModel) -> None:
    """Another picture under the same question changes some answer."""
    prompts = [p for p in make_prompts(8) if p.images]
    other = [
        Prompt(text=p.text, question=p.question, choices=p.choices, images=q.images)
        for p, q in zip(prompts, prompts[1:] + prompts[:1], strict=True)
    ]
    assert answers(model, prompts, 8) != answers(model, other, 8)


def test_tokens_are_counted_up_to_the_end_token(model: GenerativeModel) -> None:
    """No row counts more tokens than allowed, and padding is not part of the prompt."""
    prompts = make_prompts(4)
    together = model.generate(model.prepare(prompts), GREEDY)
    alone = [model.generate(model.prepare([p]), GREEDY)[0] for p in prompts]
    assert [o.tokens_in for o in together] == [o.tokens_in for o in alone]
    assert all(1 <= o.tokens <= GREEDY.max_new_tokens for o in together)


def test_a_prompt_begins_with_one_start_token(model: GenerativeModel) -> None:
    """A template that writes the start token itself does not get a second one."""
    group = model.prepare(make_prompts(1))[0]
    bos = model._tokenizer.bos_token_id
    assert group.inputs["input_ids"][0].tolist().count(bos) <= 1


def test_data_cannot_write_control_tokens(model: GenerativeModel) -> None:
    """A question that spells an image placeholder or an end of turn is sent as harmless text."""
    control = sorted(model._tokenizer.all_special_tokens, key=len)[-3:]
    hostile = " ".join([*control, "<image>", "<|image|>", "<|image_1|>"])
    picture = Image.new("RGB", (40, 40))
    plain = Prompt(text="x", question="x", images=(picture,))
    attack = Prompt(text=f"x {hostile}", question="x", images=(picture,))
    special = set(model._tokenizer.all_special_ids)

    def count(prompt: Prompt) -> int:
        ids = model.prepare([prompt])[0].inputs["input_ids"][0].tolist()
        return sum(i in special for i in ids)

    assert count(attack) == count(plain)


def test_sampling_repeats_under_one_seed_and_leaves_the_global_state_alone(
    model: GenerativeModel,
) -> None:
    """The same seed gives the same sampled answers, another seed others."""
    import torch

    prompts = make_prompts(3)
    state = torch.get_rng_state()

    def sampled(seed: int) -> list[str]:
        decoding = Decoding(max_new_tokens=16, temperature=1.5, seed=seed)
        return [o.raw for o in model.generate(model.prepare(prompts), decoding)]

    assert sampled(1) == sampled(1)
    assert sampled(1) != sampled(2)
    assert torch.equal(state, torch.get_rng_state())
