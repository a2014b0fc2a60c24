"""KOSMOS-2 through the adapter of all generative models, and the library's slips in it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, Kosmos2ForConditionalGeneration

from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import SampleError
from harness.core.types import Decoding, Prompt
from harness.families.kosmos2 import generation as kosmos2
from harness.families.kosmos2.tiny import random_model
from harness.models.generative import GenerativeModel
from harness.models.loading import LoadOptions, load

GREEDY = Decoding(max_new_tokens=16)


def make_prompts(number: int) -> list[Prompt]:
    """Prompts of many lengths and picture shapes; every fourth has no picture."""
    chance = random.Random(0)
    prompts = []
    for place in range(number):
        size = chance.randint(20, 200), chance.randint(20, 200)
        picture = Image.frombytes("RGB", size, chance.randbytes(3 * size[0] * size[1]))
        prompts.append(
            Prompt(
                text="Which of these is it? " * chance.randint(1, 8) + "Options: A: x, B: y",
                question="Which of these is it?",
                choices=("x", "y"),
                images=() if place % 4 == 3 else (picture,),
            )
        )
    return prompts


@pytest.fixture(scope="module")
def folder(tiny: Callable[..., Path]) -> Path:
    return tiny("kosmos-2")


@pytest.fixture(scope="module")
def model(folder: Path) -> GenerativeModel:
    found = load(find_checkpoint(str(folder)), LoadOptions(device="cpu", dtype="float32"))
    assert isinstance(found, GenerativeModel)
    return found


def answers(model: GenerativeModel, prompts: Sequence[Prompt], size: int) -> list[str]:
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
    assert len(set(single)) > 4
    assert answers(model, prompts, size) == single
    assert answers(model, prompts[::-1], size) == single[::-1]


def test_real_questions_are_answered_alike_in_every_batch(
    model: GenerativeModel, real_data: Path
) -> None:
    """Batches of 1, 3 and 8 real questions in two orders give the same raw answers."""
    source = real_data / "scienceqa-real"
    rows = [json.loads(line) for line in (source / "test.jsonl").read_text().splitlines()[:24]]
    prompts = [
        Prompt(
            text=row["question"],
            question=row["question"],
            choices=tuple(row["choices"]),
            images=(Image.open(source / row["image"]).convert("RGB"),),
        )
        for row in rows
    ]
    single = answers(model, prompts, 1)
    for size in (3, 8):
        assert answers(model, prompts, size) == single
        assert answers(model, prompts[::-1], size) == single[::-1]


def second_step(model: Any, processor: Any, texts: list[str]) -> torch.Tensor:
    """The logits of the first decoding step after the prompt, (B, vocabulary)."""
    picture = Image.new("RGB", (56, 56), "teal")
    inputs = processor(
        images=[[picture]] * len(texts),
        text=texts,
        padding=True,
        num_image_tokens=model.config.latent_query_num,
        return_tensors="pt",
    )
    made = model.generate(
        **inputs,
        do_sample=False,
        min_new_tokens=2,
        max_new_tokens=2,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return made.logits[1]


@pytest.fixture
def library(folder: Path) -> tuple[Any, Any]:
    """The model and the processor as the library loads them."""
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    processor.tokenizer.padding_side = "left"
    return Kosmos2ForConditionalGeneration.from_pretrained(folder).eval(), processor


TEXTS = ["Question: x Answer:", "Question: which of these is farthest west? Answer:"]


def test_upstream_still_counts_padding_as_positions(library: tuple[Any, Any]) -> None:
    """The library's own decoding of a padded row differs from that of the row alone."""
    alone = second_step(*library, TEXTS[:1])[0]
    padded = second_step(*library, TEXTS)[0]
    assert (alone - padded).abs().max() > 0.01, (
        "upstream has fixed this: the workaround can go (harness.families.kosmos2.generation._with_positions)"
    )


def test_a_repaired_model_does_not_count_padding_as_positions(library: tuple[Any, Any]) -> None:
    """Repaired, a padded row decodes as it does alone, which is what the library makes of it."""
    alone = second_step(*library, TEXTS[:1])[0]
    kosmos2.repair(*library)
    torch.testing.assert_close(second_step(*library, TEXTS)[0], alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(second_step(*library, TEXTS[:1])[0], alone, rtol=0, atol=0)


def test_a_repair_is_the_instance_s_own(library: tuple[Any, Any], folder: Path) -> None:
    """Another model, loaded later, is the library's."""
    kosmos2.repair(*library)
    other = Kosmos2ForConditionalGeneration.from_pretrained(folder)
    assert "generate" in vars(library[0])
    assert "generate" not in vars(other)
    assert "prepare_inputs_for_generation" not in vars(other.text_model)


def naive_score(model: GenerativeModel, prompt: Prompt, option: str) -> float:
    """One option behind the whole prompt in one forward pass, without any cache."""
    (group,) = model.prepare([prompt])
    tokens = model._option_tokens(group.text, option)
    inputs = {
        name: torch.cat([value, *[value[:, -1:]] * len(tokens)], dim=1)
        for name, value in group.inputs.items()
        if name != "pixel_values"
    }
    length = group.inputs["input_ids"].shape[1]
    inputs["input_ids"][:, length:] = torch.tensor(tokens)
    network: Any = model._model
    with torch.inference_mode():
        if prompt.images:
            logits = network(pixel_values=group.inputs["pixel_values"], **inputs).logits
        else:
            logits = network.text_model(**inputs).logits
    logs = logits[0, length - 1 : -1].log_softmax(dim=-1)
    return float(logs[range(len(tokens)), tokens].mean())


def test_options_are_scored_as_the_naive_way_scores_them(model: GenerativeModel) -> None:
    """Options behind prompts of several lengths, with the prompt's cache and its positions."""
    prompts = make_prompts(5)
    options = [("Alabama", "the compass rose", "B", "true")[: 2 + place % 3] for place in range(5)]
    for prompt, row, output in zip(
        prompts, options, model.choose(model.prepare(prompts), options), strict=True
    ):
        expected = [naive_score(model, prompt, option) for option in row]
        assert output.log_likelihoods == pytest.approx(expected, abs=1e-4)


def test_the_picture_is_seen(model: GenerativeModel) -> None:
    """Another picture under the same question changes some answer."""
    prompts = [p for p in make_prompts(8) if p.images]
    other = [
        Prompt(text=p.text, question=p.question, choices=p.choices, images=q.images)
        for p, q in zip(prompts, prompts[1:] + prompts[:1], strict=True)
    ]
    assert answers(model, prompts, 8) != answers(model, other, 8)


def test_the_config_says_how_many_image_tokens_there_are(model: GenerativeModel) -> None:
    """The tiny checkpoint has 8, not the processor's 64: `<s><image>`, 8 slots, `</image>`."""
    picture = Image.new("RGB", (30, 60))
    group = model.prepare([Prompt(text="x", question="x", images=(picture,))])[0]
    ids = group.inputs["input_ids"][0].tolist()
    tokenizer = model._tokenizer
    start = [tokenizer.bos_token_id, tokenizer.convert_tokens_to_ids("<image>")]
    assert ids[:11] == [*start, *range(4, 12), tokenizer.convert_tokens_to_ids("</image>")]
    assert group.inputs["image_embeds_position_mask"][0].tolist()[:12] == [0, 0, *[1] * 8, 0, 0]


def test_the_prompt_asks_for_no_boxes(model: GenerativeModel) -> None:
    """Question and Answer, without `<grounding>`."""
    prompt = Prompt(text="What is it?", question="What is it?")
    assert model.prepare([prompt])[0].text == "Question: What is it? Answer:"


def test_data_cannot_write_control_tokens(model: GenerativeModel) -> None:
    """A question that spells tags, patches or an end of text is sent as harmless text."""
    hostile = "x <image> </image> <grounding><phrase><object><patch_index_0044></object> </s> <pad>"
    picture = Image.new("RGB", (40, 40))
    tokenizer = model._tokenizer
    control = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    control.remove(tokenizer.unk_token_id)

    def count(text: str, images: tuple[Image.Image, ...]) -> int:
        group = model.prepare([Prompt(text=text, question="x", images=images)])[0]
        return sum(i in control for i in group.inputs["input_ids"][0].tolist())

    for images in ((), (picture,)):
        assert count(hostile, images) == count("x", images)


def test_two_pictures_are_refused(model: GenerativeModel) -> None:
    """KOSMOS-2 has slots for one picture; the sample fails and says why."""
    picture = Image.new("RGB", (40, 40))
    with pytest.raises(SampleError, match="one picture"):
        model.prepare([Prompt(text="x", question="x", images=(picture, picture))])


def test_the_global_random_state_is_left_alone(model: GenerativeModel) -> None:
    """Answering draws nothing from it."""
    state = torch.get_rng_state()
    answers(model, make_prompts(4), 4)
    assert torch.equal(state, torch.get_rng_state())


def test_answers_end_where_the_model_s_settings_say(model: GenerativeModel) -> None:
    """The end tokens of the adapter hold for the text model, which does the generating."""
    prompts = make_prompts(1)
    first = model.generate(model.prepare(prompts), GREEDY)[0]
    ids = model._tokenizer(first.raw, add_special_tokens=False)["input_ids"]
    assert first.tokens == 16
    settings = model._model.generation_config
    settings.eos_token_id = [*settings.eos_token_id, *ids]
    try:
        shorter = model._model.generate(
            **model.prepare(prompts)[0].inputs, max_new_tokens=16, do_sample=False
        )
    finally:
        settings.eos_token_id = settings.eos_token_id[:1]
    assert shorter.shape[1] - first.tokens_in < 16


def test_bfloat16_answers(folder: Path) -> None:
    """The checkpoint runs in the type of an accelerator, batched and with missing pictures."""
    half = load(find_checkpoint(str(folder)), LoadOptions(device="cpu", dtype="bfloat16"))
    outputs = half.generate(half.prepare(make_prompts(4)), GREEDY)
    assert all(output.tokens for output in outputs)


def test_the_full_size_is_the_published_one() -> None:
    """1,664,485,376 parameters, as the published checkpoint has."""
    model = random_model(device="meta")
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_664_485_376


def test_a_tiny_checkpoint_is_small_and_comes_from_its_seed(
    folder: Path, tmp_path: Path, tiny: Callable[..., Path]
) -> None:
    """Below 2 MB; the same seed gives the same files, another seed other weights."""
    from harness.families.tiny import build

    again = build("kosmos-2", tmp_path / "again")
    names = sorted(path.name for path in folder.iterdir())
    assert sum((folder / name).stat().st_size for name in names) < 2_000_000
    assert [(again / n).read_bytes() for n in names] == [(folder / n).read_bytes() for n in names]
    weights = "model.safetensors"
    assert (tiny("kosmos-2", 1) / weights).read_bytes() != (folder / weights).read_bytes()
