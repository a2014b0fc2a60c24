"""Four families that the library knows, through one adapter."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from harness.checkpoints.resolve import find_checkpoint
from harness.core.types import Decoding, Prompt
from harness.models.generative import GenerativeModel
from harness.models.loading import LoadOptions, load

FAMILIES = ("llava", "llava-next", "llava-cot", "idefics3", "moondream", "phi-3.5")
GREEDY = Decoding(max_new_tokens=8)


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


def test_batched_answers_equal_single_ones(model: GenerativeModel) -> None:
    """A row's answer does not depend on what else is in its batch, nor on its place in it."""
    prompts = make_prompts(5)
    single = answers(model, prompts, 1)
    assert len(set(single)) > 1
    assert answers(model, prompts, 2) == single
    assert answers(model, prompts[::-1], 5) == single[::-1]


def test_the_picture_is_seen(model: GenerativeModel) -> None:
    """Another picture under the same question changes some answer."""
    prompts = [p for p in make_prompts(5) if p.images]
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
    row = model.prepare(make_prompts(1))[0]
    bos = model._tokenizer.bos_token_id
    assert row.inputs["input_ids"][0, :2].tolist() != [bos, bos]


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

    prompts = make_prompts(2)
    state = torch.get_rng_state()

    def sampled(seed: int) -> list[str]:
        decoding = Decoding(max_new_tokens=8, temperature=1.5, seed=seed)
        return [o.raw for o in model.generate(model.prepare(prompts), decoding)]

    assert sampled(1) == sampled(1)
    assert sampled(1) != sampled(2)
    assert torch.equal(state, torch.get_rng_state())


OPTIONS = ("Alabama", "South Carolina", "the United States of America", "B")


def naive_score(model: GenerativeModel, prompt: Prompt, option: str) -> float:
    """One option behind the whole prompt in one forward pass, without any cache."""
    import torch

    (row,) = model.prepare([prompt])
    tokens = model._option_tokens(row.text, option)
    length = row.length
    inputs = dict(row.inputs)
    for name, value in inputs.items():
        if value.shape[1:2] == (length,) and not name.startswith("pixel"):
            inputs[name] = torch.cat([value, *[value[:, -1:]] * len(tokens)], dim=1)
    inputs["input_ids"][:, length:] = torch.tensor(tokens)
    with torch.inference_mode():
        logits = model._model(**inputs).logits[0, length - 1 : -1].log_softmax(-1)
    return float(logits[range(len(tokens)), tokens].mean())


def test_options_are_scored_as_the_naive_way_scores_them(model: GenerativeModel) -> None:
    """One prompt for all options, in a batch with other questions: the same log-likelihoods."""
    prompts = make_prompts(5)
    options = [OPTIONS[: 2 + place % 3] for place in range(5)]
    found = model.choose(model.prepare(prompts), options)
    for prompt, row, output in zip(prompts, options, found, strict=True):
        expected = [naive_score(model, prompt, option) for option in row]
        assert output.log_likelihoods == pytest.approx(expected, abs=1e-4)
        assert output.raw == "ABCDE"[expected.index(max(expected))]


def test_letters_are_scored_in_one_step(model: GenerativeModel) -> None:
    """Options of one token need no second pass."""
    prompts = make_prompts(3)
    found = model.choose(model.prepare(prompts), ["AB"] * 3)
    for prompt, output in zip(prompts, found, strict=True):
        assert output.log_likelihoods == pytest.approx(
            [naive_score(model, prompt, letter) for letter in "AB"], abs=1e-4
        )


def test_a_row_stops_when_it_has_written_its_end(model: GenerativeModel) -> None:
    """Each row ends by itself, what stands before the end is unchanged, and padding is no token."""
    prompts = make_prompts(4)
    long = Decoding(max_new_tokens=24)
    free = model.generate(model.prepare(prompts), long)
    stop = next(c for c in free[0].raw[4:] if c.isalnum())
    held = model.generate(model.prepare(prompts), replace(long, stop=stop))
    for before, after in zip(free, held, strict=True):
        assert before.raw.startswith(after.raw)
        assert (stop in after.raw) == (stop in before.raw)
        assert after.raw.count(stop) <= before.raw.count(stop)
        if stop in before.raw:
            assert stop in after.raw[-12:]
        assert after.tokens <= before.tokens
    assert held[0].tokens < free[0].tokens


def test_what_was_begun_stands_behind_the_prompt(model: GenerativeModel) -> None:
    """An answer that is to be continued follows the prompt, its control tokens broken up."""
    prompt = make_prompts(1)[0]
    plain = model.prepare([prompt])[0]
    begun = model.prepare([replace(prompt, answer_prefix="<REASONING> y <image>")])[0]
    assert begun.text.startswith(plain.text + "<REASONING> y")
    special = set(model._tokenizer.all_special_ids)
    ids = (row.inputs["input_ids"][0].tolist() for row in (plain, begun))
    assert len({sum(i in special for i in row) for row in ids}) == 1
