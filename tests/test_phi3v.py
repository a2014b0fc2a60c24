"""Phi-3.5-vision: preprocessing, features, decoding and loading, against restatements made here."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
)

from harness.engine.cache_argument import KV_CACHE
from harness.families.phi3v import tiny
from harness.families.phi3v.classes import (
    Phi3VConfig,
    Phi3VForCausalLM,
    Phi3VImageProcessor,
    Phi3VProcessor,
    register,
)

register()

QUESTION = "<|user|>\n<|image_1|>\nWhat is this?<|end|>\n<|assistant|>\n"
TEXT_ONLY = "<|user|>\nWhat is the capital of Wyoming?<|end|>\n<|assistant|>\n"
TWO_PICTURES = "<|user|>\n<|image_1|>\n<|image_2|>\nWhich one?<|end|>\n<|assistant|>\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("phi3v") / "checkpoint"
    tiny.build(path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Phi3VForCausalLM:
    return AutoModelForImageTextToText.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def processor(folder: Path) -> Phi3VProcessor:
    return AutoProcessor.from_pretrained(folder)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def answers(model, inputs, tokens=8, **kwargs):
    """Greedy tokens; random weights rarely end an answer, so all rows have the same length."""
    with torch.inference_mode():
        sequences = model.generate(**inputs, max_new_tokens=tokens, do_sample=False, **kwargs)
    return sequences[:, inputs["input_ids"].shape[1] :]


def logits(model, **inputs):
    with torch.inference_mode():
        return model(**inputs).logits


# Preprocessing


def grid_by_trial(width: int, height: int, limit: int) -> tuple[int, int]:
    """(rows, columns) by trying every number of columns, on a picture laid wide."""
    wide, narrow = max(width, height), min(width, height)
    ratio = wide / narrow
    fits = [c for c in range(1, limit + 1) if c * int(np.ceil(c / ratio)) <= limit]
    # The rule stops at the first number of columns that does not fit.
    columns = max(c for c in fits if all(k in fits for k in range(1, c)))
    rows = max(1, math.ceil(int(columns * 336 / ratio) / 336))
    return (rows, columns) if width >= height else (columns, rows)


# Width, height, and (rows, columns) with 4 and with 16 crops, worked out by hand for the first six.
SIZES = [
    (336, 336, (2, 2), (4, 4)),
    (640, 480, (2, 2), (3, 4)),
    (480, 640, (2, 2), (4, 3)),
    (1000, 250, (1, 4), (2, 8)),
    (250, 1000, (4, 1), (8, 2)),
    (1344, 336, (1, 4), (2, 8)),
]
MORE_SIZES = [
    (1, 1), (2, 1), (1, 2), (10, 7), (99, 100), (100, 99), (224, 224), (300, 301), (335, 337),
    (337, 335), (400, 100), (100, 400), (512, 384), (777, 333), (333, 777), (800, 600), (1000, 60),
    (60, 1000), (1280, 720), (1600, 100), (1920, 1080), (2000, 3000), (3000, 125), (1345, 336),
]  # fmt: skip


def grid_of(processor: Phi3VImageProcessor, width: int, height: int, limit: int) -> tuple[int, int]:
    image = Image.new("RGB", (width, height))
    sizes = processor(image, num_crops=limit)["image_sizes"]
    return sizes[0][0] // processor.image_size, sizes[0][1] // processor.image_size


@pytest.mark.parametrize(("width", "height", "four", "sixteen"), SIZES)
def test_grids_worked_out_by_hand(width, height, four, sixteen) -> None:
    """The crop grid is the largest that the rule allows, the long side along the columns."""
    processor = Phi3VImageProcessor()
    assert grid_of(processor, width, height, 4) == four
    assert grid_of(processor, width, height, 16) == sixteen


@pytest.mark.parametrize(("width", "height"), [s[:2] for s in SIZES] + MORE_SIZES)
def test_grid_of_thirty_sizes(width, height) -> None:
    """The grid is that of trying every number of columns, for any limit."""
    processor = Phi3VImageProcessor()
    for limit in (1, 4, 7, 16):
        grid = grid_of(processor, width, height, limit)
        assert grid == grid_by_trial(width, height, limit), limit


@pytest.mark.parametrize(("width", "height"), [(640, 480), (250, 1000), (336, 336), (1000, 60)])
@pytest.mark.parametrize("side", [336, 28])
def test_pixels_are_those_of_the_published_steps(width, height, side) -> None:
    """Scaled, filled up with white, cut and normalised, to the last bit."""
    image = picture(width, height)
    got = Phi3VImageProcessor(image_size=side, patch_size=14)(image, num_crops=4)
    turned = image.transpose(Image.Transpose.TRANSPOSE) if height > width else image
    rows, columns = grid_by_trial(width, height, 4)
    across = max(rows, columns)
    ratio = turned.width / turned.height
    scaled = turned.resize((across * side, int(across * side / ratio)), Image.Resampling.BILINEAR)
    tall = math.ceil(scaled.height / side) * side
    filled = np.full((tall, across * side, 3), 255, dtype=np.uint8)
    top = int((tall - scaled.height) / 2)
    filled[top : top + scaled.height] = np.asarray(scaled)
    if height > width:
        filled = filled.transpose(1, 0, 2)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    whole = (torch.from_numpy(filled.copy()).permute(2, 0, 1).float().div(255) - mean) / std
    small = torch.nn.functional.interpolate(whole[None], (side, side), mode="bicubic")[0]
    expected = [small]
    for top in range(0, whole.shape[1], side):
        expected += [
            whole[:, top : top + side, left : left + side]
            for left in range(0, whole.shape[2], side)
        ]
    expected += [torch.zeros(3, side, side)] * (5 - len(expected))
    assert got["image_sizes"] == [list(whole.shape[1:])]
    assert torch.equal(got["pixel_values"][0], torch.stack(expected))


@pytest.mark.parametrize(("side", "patch", "half"), [(336, 14, 12), (32, 8, 2), (56, 14, 2)])
@pytest.mark.parametrize(("width", "height"), [(336, 336), (640, 480), (1000, 250), (60, 1000)])
def test_token_count_formula(width, height, side, patch, half) -> None:
    """(h w + 1) g^2 + 1 + (h + 1) g slots, g being half the patches along a crop."""
    got = Phi3VImageProcessor(image_size=side, patch_size=patch)(picture(width, height))
    rows, columns = (size // side for size in got["image_sizes"][0])
    expected = (rows * columns + 1) * half**2 + 1 + (rows + 1) * half
    assert got["num_img_tokens"] == [expected]


def test_a_square_picture_has_757_tokens() -> None:
    """The published figure for 2 x 2 crops."""
    assert Phi3VImageProcessor()(picture(100, 100))["num_img_tokens"] == [757]


def test_alpha_is_dropped() -> None:
    """A transparent picture shows its hidden colours, as `convert("RGB")` has them."""
    opaque = picture(40, 30)
    clear = opaque.convert("RGBA")
    clear.putalpha(0)
    processor = Phi3VImageProcessor()
    assert torch.equal(processor(opaque)["pixel_values"], processor(clear)["pixel_values"])


def test_a_strip_thinner_than_a_pixel_is_kept() -> None:
    """Scaling a strip of 3000 x 1 leaves one row of pixels, not none."""
    assert Phi3VImageProcessor()(picture(3000, 1), num_crops=4)["image_sizes"] == [[336, 1344]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": np.zeros((4, 4, 3))}, "PIL"),
        ({"images": picture(4, 4), "num_crops": 0}, "num_crops"),
    ],
)
def test_image_processor_refuses(arguments, message) -> None:
    """What is not a PIL picture, and fewer than one crop, are refused in words."""
    with pytest.raises(ValueError, match=message):
        Phi3VImageProcessor()(**arguments)


# Texts


def test_every_piece_of_text_is_tokenized_by_itself(processor) -> None:
    """Each piece between tags begins with the tokenizer's BOS, the empty ones too."""
    tokens = processor.tokenizer
    inputs = processor(images=[picture(40, 40), picture(60, 20)], text="<|image_1|><|image_2|> a")
    first, second = processor.image_processor([picture(40, 40), picture(60, 20)])["num_img_tokens"]
    slot = processor.image_token_id
    expected = [
        tokens.bos_token_id,
        *[slot] * first,
        tokens.bos_token_id,
        *[slot] * second,
        *tokens(" a").input_ids,
    ]
    assert inputs["input_ids"] == [expected]


def test_pictures_follow_their_tags(model, processor) -> None:
    """A text that names its second picture first has it first, and one may come twice."""
    one, two = picture(40, 40, 1), picture(100, 30, 2)
    turned = processor(
        images=[one, two], text="<|image_2|><|image_1|><|image_2|>", return_tensors="pt"
    )
    straight = processor(
        images=[two, one, two], text="<|image_1|><|image_2|><|image_3|>", return_tensors="pt"
    )
    assert torch.equal(logits(model, **turned), logits(model, **straight))


def test_flat_and_nested_pictures_are_the_same(processor) -> None:
    """Pictures may come one after the other or in one list per text."""
    one, two, three = (picture(40 + 20 * i, 40, i) for i in range(3))
    texts = [QUESTION, TEXT_ONLY, TWO_PICTURES]
    flat = processor(images=[one, two, three], text=texts, padding=True, return_tensors="pt")
    nested = processor(
        images=[[one], None, [two, three]], text=texts, padding=True, return_tensors="pt"
    )
    assert flat.keys() == nested.keys()
    assert all(torch.equal(flat[key], nested[key]) for key in flat)


@pytest.mark.parametrize(
    ("text", "images", "message"),
    [
        ("<|image_2|> alone", 1, "text 0 names <|image_2|>"),
        ("<|image_1|> and <|image_3|>", 2, "without a gap"),
        ("<|image_0|>", 1, "from <|image_1|>"),
        (QUESTION, 0, "name 1 pictures, 0 are given"),
        (QUESTION, 2, "name 1 pictures, 2 are given"),
        (TEXT_ONLY, 1, "name 0 pictures, 1 are given"),
    ],
)
def test_tags_that_do_not_fit_are_refused(processor, text, images, message) -> None:
    """Wrong numbers, and too many or too few pictures, are errors that say what does not fit."""
    with pytest.raises(ValueError) as error:
        processor(images=[picture(9, 9)] * images, text=[text])
    assert message in str(error.value)


def test_nested_pictures_that_do_not_fit_are_refused(processor) -> None:
    """The error names the text whose pictures do not fit."""
    with pytest.raises(ValueError, match="text 1 names 1 pictures, 0 are given"):
        processor(images=[[picture(9, 9)], []], text=[QUESTION, QUESTION])
    with pytest.raises(ValueError, match="1 lists of pictures for 2 texts"):
        processor(images=[[picture(9, 9)]], text=[QUESTION, QUESTION])


def test_a_placeholder_in_a_question_is_no_slot(model, processor) -> None:
    """Somebody's text cannot make image slots."""
    hostile = processor(text=["What does <|image|> mean?"], return_tensors="pt")
    assert processor.image_token_id not in hostile["input_ids"]
    assert logits(model, **hostile).isfinite().all()


def test_chat_template_numbers_the_pictures_of_a_message_in_parts(processor) -> None:
    """Contents in parts and contents in one string give the published wording."""
    parts = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Which one?"}]
    render = processor.apply_chat_template
    assert render([{"role": "user", "content": parts}], add_generation_prompt=True) == TWO_PICTURES
    assert (
        render(
            [{"role": "user", "content": "What is the capital of Wyoming?"}],
            add_generation_prompt=True,
        )
        == TEXT_ONLY
    )


def test_num_crops_per_call_and_per_processor(folder, processor) -> None:
    """The number of crops is 4 in the folder, and can be set on loading and in each call."""
    image = picture(100, 100)
    assert processor.image_processor.num_crops == 4
    assert processor(images=image, text=QUESTION)["pixel_values"].shape[1] == 5
    sixteen = AutoProcessor.from_pretrained(folder, num_crops=16)
    in_call = processor(images=image, text=QUESTION, num_crops=16)
    assert in_call["pixel_values"].shape == (1, 17, 3, 32, 32)
    assert sixteen(images=image, text=QUESTION)["input_ids"] == in_call["input_ids"]


# The layout of features


def test_features_are_laid_out_as_a_naive_loop_has_them(model, processor) -> None:
    """Crops row by row with a separator after each row of tokens, one separator, the overview."""
    pictures = [picture(100, 60, 1), picture(20, 90, 2), picture(64, 64, 3)]
    inputs = processor.image_processor(pictures, return_tensors="pt")
    module = model.model.vision_embed_tokens
    clip = module.img_processor["vision_model"]
    with torch.inference_mode():
        got = model.get_image_features(inputs["pixel_values"], inputs["image_sizes"])
        for features, pixels, size in zip(
            got, inputs["pixel_values"], inputs["image_sizes"].tolist(), strict=True
        ):
            rows, columns = size[0] // 32, size[1] // 32
            # hidden_states[-2] of the library's whole pass over CLIP, class token left out.
            states = clip(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]

            def token(crop: int, y: int, x: int, states=states) -> torch.Tensor:
                corners = [(2 * y) * 4 + 2 * x, (2 * y) * 4 + 2 * x + 1]
                corners += [corner + 4 for corner in corners]
                return torch.cat([states[crop, corner] for corner in corners])

            merged = []
            for y in range(rows * 2):
                for x in range(columns * 2):
                    crop = 1 + (y // 2) * columns + x // 2
                    merged.append(token(crop, y % 2, x % 2))
                merged.append(module.sub_GN.flatten())
            merged.append(module.glb_GN.flatten())
            for y in range(2):
                merged += [token(0, y, x) for x in range(2)] + [module.sub_GN.flatten()]
            hidden = torch.stack(merged)
            first, second = module.img_projection[0], module.img_projection[2]
            hidden = hidden @ first.weight.T + first.bias
            hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
            expected = hidden @ second.weight.T + second.bias
            torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)


def test_padding_crops_are_not_looked_at(model, processor) -> None:
    """What stands in the crops beyond a picture's own changes nothing."""
    inputs = processor.image_processor(picture(64, 16), num_crops=7, return_tensors="pt")
    spoiled = inputs["pixel_values"].clone()
    assert spoiled.shape[1] == 8  # an overview, four crops, three that are padding
    spoiled[:, 5:] = 7.0
    with torch.inference_mode():
        (clean,) = model.get_image_features(inputs["pixel_values"], inputs["image_sizes"])
        (same,) = model.get_image_features(spoiled, inputs["image_sizes"])
    assert torch.equal(clean, same)


def test_features_made_before_stand_for_pixels(model, processor) -> None:
    """A picture's features can be kept, and give the same logits and answers as its pixels."""
    inputs = processor(images=[picture(70, 40)], text=[QUESTION], return_tensors="pt")
    with torch.inference_mode():
        features = model.get_image_features(inputs["pixel_values"], inputs["image_sizes"])
    words = {key: inputs[key] for key in ("input_ids", "attention_mask")}
    kept = {**words, "image_features": features}
    assert torch.equal(logits(model, **inputs), logits(model, **kept))
    assert torch.equal(answers(model, inputs), answers(model, kept))


def test_negative_ids_are_slots(model, processor) -> None:
    """The original processor's ids, -1 for the first picture and so on, mean the same."""
    inputs = processor(
        images=[picture(70, 40), picture(30, 60)], text=[TWO_PICTURES], return_tensors="pt"
    )
    ids = inputs["input_ids"]
    first = processor.image_processor(picture(70, 40))["num_img_tokens"][0]
    slots = (ids == processor.image_token_id).nonzero()[:, 1]
    negative = ids.clone()
    negative[0, slots[:first]], negative[0, slots[first:]] = -1, -2
    original = {**inputs, "input_ids": negative}
    assert torch.equal(logits(model, **inputs), logits(model, **original))
    assert torch.equal(answers(model, inputs), answers(model, original))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixel_values": None, "image_sizes": None}, "no picture was given"),
        ({"image_sizes": None}, "need image_sizes"),
        ({"input_ids": torch.tensor([[1, 8, 8, 8, 20]]), "attention_mask": None}, "3 image tokens"),
        ({"inputs_embeds": torch.zeros(1, 5, 48)}, "give them alone"),
    ],
)
def test_model_refuses_pictures_that_do_not_fit(model, processor, change, message) -> None:
    """Slots without pictures, and pictures without slots, are errors."""
    inputs = processor(images=[picture(70, 40)], text=[QUESTION], return_tensors="pt")
    with pytest.raises(ValueError, match=message):
        logits(model, **{**inputs, **change})


# Decoding


@pytest.fixture(scope="module")
def batch(processor):
    """A batch of eight: other lengths, other numbers of pictures, a row without any."""
    texts = [QUESTION, TEXT_ONLY, TWO_PICTURES, "<|image_1|>", QUESTION, TEXT_ONLY * 3]
    texts += [TWO_PICTURES, QUESTION]
    sizes = [(40, 40), (60, 20), (20, 60), (90, 30), (64, 64), (33, 50), (100, 25), (31, 31)]
    return texts, [picture(w, h, seed) for seed, (w, h) in enumerate(sizes)]


def pictures_of(texts, pictures):
    counts = [text.count("<|image_") for text in texts]
    ends = np.cumsum([0, *counts])
    return [pictures[a:b] for a, b in pairwise(ends)]


@pytest.mark.parametrize("size", [1, 3, 8])
@pytest.mark.parametrize("backwards", [False, True])
def test_answers_do_not_depend_on_the_batch(model, processor, batch, size, backwards) -> None:
    """Batches of 1, 3 and 8, in two orders, answer as each question alone does."""
    texts, pictures = batch
    questions = list(zip(texts, pictures_of(texts, pictures), strict=True))
    alone = [
        answers(model, processor(images=own or None, text=[text], return_tensors="pt"))[0]
        for text, own in questions
    ]
    order = list(range(8))[:: -1 if backwards else 1]
    for start in range(0, 8, size):
        rows = order[start : start + size]
        inputs = processor(
            images=[questions[i][1] for i in rows],
            text=[questions[i][0] for i in rows],
            padding=True,
            return_tensors="pt",
        )
        got = answers(model, inputs)
        assert torch.equal(got, torch.stack([alone[i] for i in rows]))


def test_logits_of_a_padded_row_are_those_of_the_row_alone(model, processor, batch) -> None:
    """Padding on the left, the default, moves no position: not in a plain forward pass either."""
    texts, pictures = batch
    inputs = processor(images=pictures, text=texts, padding=True, return_tensors="pt")
    assert inputs["attention_mask"][:, -1].all()
    together = logits(model, **inputs)
    for row, (text, own) in enumerate(zip(texts, pictures_of(texts, pictures), strict=True)):
        single = logits(model, **processor(images=own or None, text=[text], return_tensors="pt"))
        torch.testing.assert_close(
            together[row, -single.shape[1] :], single[0], atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("how", [{"use_cache": False}, {"cache_implementation": "static"}])
def test_every_cache_gives_the_answers_of_none(model, processor, batch, how) -> None:
    """Decoding with a growing cache, a static one and none at all gives the same tokens."""
    texts, pictures = batch
    inputs = processor(images=pictures, text=texts, padding=True, return_tensors="pt")
    assert torch.equal(answers(model, inputs), answers(model, inputs, **how))


def test_embeddings_stand_for_ids(model, processor) -> None:
    """`inputs_embeds` give the logits and the answers of the ids that they were made from."""
    inputs = processor(images=[picture(70, 40)], text=[QUESTION], return_tensors="pt")
    with torch.inference_mode():
        features = model.get_image_features(inputs["pixel_values"], inputs["image_sizes"])
        embeddings = model.model.embed(inputs["input_ids"], features)
        assert torch.equal(logits(model, **inputs), logits(model, inputs_embeds=embeddings))
        generated = model.generate(
            inputs_embeds=embeddings,
            attention_mask=inputs["attention_mask"],
            max_new_tokens=8,
            do_sample=False,
        )
    assert torch.equal(generated, answers(model, inputs))


def test_attention_kernels_agree(folder, model, processor) -> None:
    """The plain attention gives the logits of the fused one."""
    eager = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager")
    assert eager.config.vision_config._attn_implementation == "eager"
    inputs = processor(images=[picture(70, 40)], text=[QUESTION], return_tensors="pt")
    torch.testing.assert_close(
        logits(eager, **inputs), logits(model, **inputs), atol=1e-4, rtol=1e-4
    )


def test_a_beam_keeps_each_row_with_its_pictures(model, processor) -> None:
    """Beam search over a batch gives each row what it gives the row alone."""
    texts, pictures = [TWO_PICTURES, QUESTION], [picture(40 + 30 * i, 40, i) for i in range(3)]
    inputs = processor(images=pictures, text=texts, padding=True, return_tensors="pt")
    together = answers(model, inputs, num_beams=3)
    for row, own in enumerate([pictures[:2], pictures[2:]]):
        single = processor(images=own, text=[texts[row]], return_tensors="pt")
        assert torch.equal(together[row : row + 1], answers(model, single, num_beams=3))


def test_a_conversation_goes_on_from_its_cache(model, processor) -> None:
    """A second turn on the first one's cache answers as the whole conversation does."""
    image = [picture(70, 40)]
    first = processor(images=image, text=[QUESTION], return_tensors="pt")
    with torch.inference_mode():
        turn = model.generate(
            **first, max_new_tokens=4, do_sample=False, return_dict_in_generate=True
        )
    more = torch.tensor([[40, 50, 60]])
    ids = torch.cat([turn.sequences, more], dim=1)
    whole = {**first, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    expected = answers(model, whole)
    assert torch.equal(answers(model, whole, **{KV_CACHE: getattr(turn, KV_CACHE)}), expected)


@pytest.mark.parametrize("name", ["past_key_values", "cache"])
def test_the_kv_cache_is_taken_under_either_name(model, name) -> None:
    """From transformers 5.24 on it has another name; a step goes on from a cache under both."""
    ids = torch.tensor([[40, 50, 60, 70]])
    with torch.inference_mode():
        prompt = model(input_ids=ids[:, :3], use_cache=True)
        step = model(input_ids=ids[:, 3:], **{name: getattr(prompt, KV_CACHE)})
        whole = model(input_ids=ids)
    torch.testing.assert_close(step.logits[:, -1], whole.logits[:, -1], atol=1e-5, rtol=1e-5)


def test_end_of_turn_ends_the_answer(model, processor) -> None:
    """The folder's two end tokens are known without being passed."""
    ends = processor.tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|end|>"])
    assert model.generation_config.eos_token_id == ends
    assert model.generation_config.pad_token_id == ends[0]


@pytest.mark.parametrize("generation_config", [{"eos_token_id": 2}, {}, None])
def test_published_files_stop_at_both_ends_of_a_turn(folder, tmp_path, generation_config) -> None:
    """With the published vocabulary, `</s>` in the files is replaced by what chats end with."""
    copy(folder, tmp_path)
    change(tmp_path / "config.json", vocab_size=32064, eos_token_id=2, pad_token_id=32000)
    tensors = load_file(folder / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = torch.zeros(32064, 48)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "generation_config.json").unlink()
    if generation_config is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation_config))
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert loaded.generation_config.eos_token_id == [32000, 32007]
    assert loaded.generation_config.pad_token_id == 32000


# The RoPE switch at 4,096 tokens


def longrope_by_hand(model: Phi3VForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    """Logits of one row from the weights alone: attention, RoPE and MLP spelled out."""
    config, length = model.config, ids.shape[1]
    heads, dim = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    scaling = json.loads(json.dumps(config.rope_parameters))
    factors = scaling["long_factor" if length > 4096 else "short_factor"]
    powers = torch.arange(0, dim, 2).float() / dim
    inverse = 1.0 / (torch.tensor(factors) * 10000.0**powers)
    angles = torch.arange(length).float()[:, None] * inverse
    gain = math.sqrt(1 + math.log(131072 / 4096) / math.log(4096))
    cos = torch.cat([angles, angles], -1).cos() * gain
    sin = torch.cat([angles, angles], -1).sin() * gain

    def turn(x):
        return x * cos + torch.cat([-x[..., dim // 2 :], x[..., : dim // 2]], -1) * sin

    def norm(x, weight):
        return weight * x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)

    hidden = model.model.embed_tokens.weight[ids[0]]
    mask = torch.full((length, length), float("-inf")).triu(1)
    for layer in model.model.layers:
        qkv = norm(hidden, layer.input_layernorm.weight) @ layer.self_attn.qkv_proj.weight.T
        q, k, v = (part.view(length, heads, dim).transpose(0, 1) for part in qkv.chunk(3, -1))
        scores = turn(q) @ turn(k).transpose(1, 2) / math.sqrt(dim) + mask
        mixed = (scores.softmax(-1) @ v).transpose(0, 1).reshape(length, -1)
        hidden = hidden + mixed @ layer.self_attn.o_proj.weight.T
        gate_up = norm(hidden, layer.post_attention_layernorm.weight)
        gate, up = (gate_up @ layer.mlp.gate_up_proj.weight.T).chunk(2, -1)
        hidden = hidden + (gate * gate.sigmoid() * up) @ layer.mlp.down_proj.weight.T
    return norm(hidden, model.model.norm.weight) @ model.lm_head.weight.T


def long_text(length: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randint(20, 500, (1, length), generator=generator)


@pytest.mark.parametrize("length", [4095, 4096, 4097])
@pytest.mark.slow
def test_rope_factors_on_both_sides_of_the_switch(model, length) -> None:
    """Up to 4,096 tokens the short factors apply, from 4,097 on the long ones, to all positions."""
    ids = long_text(length)
    with torch.inference_mode():
        expected = longrope_by_hand(model, ids)
    torch.testing.assert_close(logits(model, input_ids=ids)[0], expected, atol=5e-4, rtol=5e-4)


def test_rope_factors_of_a_row_do_not_depend_on_the_batch(model) -> None:
    """Rows of 4,096 and 4,097 tokens in one batch each have the factors of their length."""
    rows = [long_text(length) for length in (4096, 4097)]
    pad = model.config.pad_token_id
    ids = torch.cat([torch.nn.functional.pad(r, (4097 - r.shape[1], 0), value=pad) for r in rows])
    lengths = torch.tensor([[4096], [4097]])
    mask = (torch.arange(4097)[None] >= 4097 - lengths).long()
    together = logits(model, input_ids=ids, attention_mask=mask, logits_to_keep=16)
    for row, alone in enumerate(rows):
        torch.testing.assert_close(
            together[row], logits(model, input_ids=alone)[0, -16:], atol=5e-4, rtol=5e-4
        )


@pytest.fixture(scope="module")
def over_the_switch(model, processor):
    """Two rows with pictures that pass 4,096 tokens at different steps, and how they go on when
    every step reads everything anew."""
    image = processor.image_processor([picture(100, 30), picture(30, 40)], return_tensors="pt")
    slots = image.pop("num_img_tokens").tolist()
    rows = []
    for count, length in zip(slots, (4095, 4094), strict=True):
        text = long_text(length)
        text[0, 5 : 5 + count] = processor.image_token_id
        rows.append(torch.nn.functional.pad(text, (4095 - length, 0), value=3))
    ids = torch.cat(rows)
    mask = torch.ones_like(ids)
    mask[1, :1] = 0
    grown_ids, grown_mask = ids, mask
    for _ in range(4):
        step = {"input_ids": grown_ids, "attention_mask": grown_mask, **image}
        following = logits(model, **step, logits_to_keep=1, use_cache=False)[:, -1].argmax(-1)
        grown_ids = torch.cat([grown_ids, following[:, None]], dim=1)
        grown_mask = torch.cat([grown_mask, mask[:, -1:]], dim=1)
    return {"input_ids": ids, "attention_mask": mask, **image}, grown_ids[:, ids.shape[1] :]


@pytest.mark.parametrize(
    "how", [{}, pytest.param({"cache_implementation": "static"}, marks=pytest.mark.slow)], ids=str
)
@pytest.mark.slow
def test_decoding_over_the_switch_is_that_without_a_cache(model, over_the_switch, how) -> None:
    """When an answer passes 4,096 tokens the cache is made anew, pictures included, row by row."""
    inputs, expected = over_the_switch
    assert not torch.isin(expected, torch.tensor(model.generation_config.eos_token_id)).any()
    assert torch.equal(answers(model, inputs, tokens=4, **how), expected)


def test_embeddings_are_kept_over_the_switch(model, over_the_switch) -> None:
    """A prompt given as embeddings is read anew at the switch, as one given as ids."""
    inputs, expected = over_the_switch
    with torch.inference_mode():
        features = model.get_image_features(inputs["pixel_values"], inputs["image_sizes"])
        embeddings = model.model.embed(inputs["input_ids"], features)
        generated = model.generate(
            inputs_embeds=embeddings,
            attention_mask=inputs["attention_mask"],
            max_new_tokens=4,
            do_sample=False,
        )
    assert torch.equal(generated, expected)


# Training


def test_loss_is_the_mean_over_the_labelled_tokens(model, processor) -> None:
    """`labels` give the cross-entropy of the next token, -100 left out."""
    inputs = processor(images=[picture(70, 40)], text=[QUESTION], return_tensors="pt")
    labels = inputs["input_ids"].clone()
    labels[labels == processor.image_token_id] = -100
    with torch.inference_mode():
        outputs = model(**inputs, labels=labels)
    shifted = labels[0, 1:]
    chances = outputs.logits[0, :-1].log_softmax(-1)
    kept = shifted != -100
    expected = -chances[kept].gather(1, shifted[kept][:, None]).mean()
    torch.testing.assert_close(outputs.loss, expected)


def test_logits_to_keep_are_the_last_ones(model, processor) -> None:
    """Only the positions asked for are computed; they equal those of the whole."""
    inputs = processor(text=[TEXT_ONLY], return_tensors="pt")
    last = logits(model, **inputs, logits_to_keep=3)
    assert last.shape[1] == 3
    torch.testing.assert_close(last, logits(model, **inputs)[:, -3:])


def test_checkpointing_changes_no_gradient(folder, processor) -> None:
    """Every parameter that has a gradient has the same one with activation checkpointing."""
    inputs = processor(images=[picture(70, 40)], text=[QUESTION], return_tensors="pt")
    labels = inputs["input_ids"].masked_fill(inputs["input_ids"] == processor.image_token_id, -100)
    gradients = []
    for checkpointing in (False, True):
        model = Phi3VForCausalLM.from_pretrained(folder).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
            assert model.is_gradient_checkpointing
        model(**inputs, labels=labels).loss.backward()
        gradients.append(
            {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        )
    plain, checkpointed = gradients
    assert plain.keys() == checkpointed.keys()
    assert "model.vision_embed_tokens.sub_GN" in plain
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, msg=name)


def test_a_trainer_finds_the_parts(model) -> None:
    """The backbone has last_hidden_state, and the head is where trainers look for it."""
    assert model.base_model is model.model
    assert model.get_output_embeddings() is model.lm_head
    assert model.get_input_embeddings() is model.model.embed_tokens
    hidden = model.model(input_ids=torch.tensor([[20, 30]])).last_hidden_state
    torch.testing.assert_close(model.lm_head(hidden), model(torch.tensor([[20, 30]])).logits)


def test_bfloat16_is_close_to_float32(folder, model, processor) -> None:
    """In bfloat16 the logits agree to its precision, and RoPE keeps its float32 frequencies."""
    half = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16)
    inputs = processor(images=[picture(70, 40)], text=[QUESTION], return_tensors="pt")
    exact, rough = logits(model, **inputs), logits(half, **inputs).float()
    assert (exact - rough).norm() / exact.norm() < 0.1
    cast = AutoModelForImageTextToText.from_pretrained(folder).to(torch.bfloat16)
    assert torch.equal(logits(cast, **inputs), logits(half, **inputs))


# Folders

EMBEDDING = "model.embed_tokens.weight"


def copy(source: Path, target: Path) -> None:
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())


def change(path: Path, **fields) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_the_tiny_folder_is_in_the_published_layout(folder) -> None:
    """Under 2 MB, RoPE of type "su", code named but absent, CLIP's names as published."""
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2_000_000
    config = json.loads((folder / "config.json").read_text())
    assert config["rope_scaling"]["type"] == "su"
    assert config["auto_map"]["AutoModelForCausalLM"] == "modeling_phi3_v.Phi3VForCausalLM"
    names = load_file(folder / "model.safetensors").keys()
    clip = "model.vision_embed_tokens.img_processor.vision_model."
    assert {
        "lm_head.weight",
        "model.embed_tokens.weight",
        "model.norm.weight",
        "model.layers.0.self_attn.qkv_proj.weight",
        "model.layers.0.self_attn.o_proj.weight",
        "model.layers.0.mlp.gate_up_proj.weight",
        "model.layers.0.mlp.down_proj.weight",
        "model.layers.0.input_layernorm.weight",
        "model.layers.0.post_attention_layernorm.weight",
        "model.vision_embed_tokens.glb_GN",
        "model.vision_embed_tokens.sub_GN",
        "model.vision_embed_tokens.img_projection.0.weight",
        "model.vision_embed_tokens.img_projection.2.bias",
        clip + "embeddings.class_embedding",
        clip + "embeddings.patch_embedding.weight",
        clip + "embeddings.position_embedding.weight",
        clip + "pre_layrnorm.weight",
        clip + "post_layernorm.bias",
        clip + "encoder.layers.2.self_attn.q_proj.weight",
        clip + "encoder.layers.2.mlp.fc1.bias",
        clip + "encoder.layers.2.layer_norm1.weight",
    } <= names
    assert {name for name in names if "img_processor" in name} == {
        name for name in names if name.startswith(clip)
    }


def test_loading_runs_nothing_from_the_folder(folder, tmp_path) -> None:
    """Code that every file of the folder names is neither run nor asked about."""
    copy(folder, tmp_path)
    marker = tmp_path / "marker"
    code = f"open({str(marker)!r}, 'w').close()\n"
    for name in ("configuration_phi3_v", "modeling_phi3_v", "processing_phi3_v", "tokenization"):
        (tmp_path / f"{name}.py").write_text(code)
    change(tmp_path / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization.T", None]})
    (tmp_path / "processor_config.json").write_text(
        json.dumps(
            {
                "auto_map": {"AutoProcessor": "processing_phi3_v.Phi3VProcessor"},
                "processor_class": "Phi3VProcessor",
            }
        )
    )
    for trust in ({}, {"trust_remote_code": False}):
        assert type(AutoConfig.from_pretrained(tmp_path, **trust)) is Phi3VConfig
        processor = AutoProcessor.from_pretrained(tmp_path, **trust)
        assert type(processor) is Phi3VProcessor
        assert type(AutoImageProcessor.from_pretrained(tmp_path, **trust)) is Phi3VImageProcessor
        for auto in (AutoModelForImageTextToText, AutoModelForCausalLM):
            assert type(auto.from_pretrained(tmp_path, **trust)) is Phi3VForCausalLM
        assert processor(text="a").input_ids == [processor.tokenizer("a").input_ids]
    assert not marker.exists()


def test_no_key_is_missing_and_none_is_left_over(folder) -> None:
    """The published names are the parameters' own."""
    _, info = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())


@pytest.mark.parametrize("kept", [("wte",), ("wte", "embed_tokens")])
def test_the_embedding_may_have_its_second_name(folder, model, processor, tmp_path, kept) -> None:
    """Fine-tunes hold it as the vision part's `wte`, alone or twice: nothing is missing or left
    over, and what is saved again loads again."""
    copy(folder, tmp_path)
    names = {"wte": "model.vision_embed_tokens.wte.weight", "embed_tokens": EMBEDDING}
    tensors = load_file(folder / "model.safetensors")
    embedding = tensors.pop(EMBEDDING)
    tensors |= {names[each]: embedding.clone() for each in kept}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    found, info = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    found.save_pretrained(tmp_path)
    again, info = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    inputs = processor(images=[picture(70, 40)], text=[QUESTION], return_tensors="pt")
    for each in (found, again):
        assert torch.equal(logits(each, **inputs), logits(model, **inputs))


def test_saving_and_loading_gives_the_same_model(folder, model, processor, tmp_path) -> None:
    """Saved tensors keep their published names and values; the copy gives the same logits."""
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    before, after = (load_file(f / "model.safetensors") for f in (folder, tmp_path))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    copied = AutoModelForImageTextToText.from_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    inputs = again(images=[picture(70, 40)], text=[QUESTION], return_tensors="pt")
    same = processor(images=[picture(70, 40)], text=[QUESTION], return_tensors="pt")
    assert torch.equal(inputs["input_ids"], same["input_ids"])
    assert torch.equal(logits(copied, **inputs), logits(model, **same))


def test_a_processor_saved_alone_keeps_its_geometry(processor, tmp_path) -> None:
    """Where no model lies beside them, the processor's own files say how large crops are."""
    processor.save_pretrained(tmp_path)
    again = Phi3VProcessor.from_pretrained(tmp_path)
    assert again.image_token_id == processor.image_token_id
    image = picture(70, 40)
    assert torch.equal(
        again(images=image, text=QUESTION)["pixel_values"],
        processor(images=image, text=QUESTION)["pixel_values"],
    )


def test_published_sizes_hold_where_the_config_is_silent() -> None:
    """CLIP ViT-L/14-336, the projector as wide as the text, `<|image|>` as published."""
    config = Phi3VConfig(vision_config={"num_hidden_layers": 2})
    vision = config.vision_config
    assert (vision.hidden_size, vision.intermediate_size, vision.num_hidden_layers) == (
        1024,
        4096,
        2,
    )
    assert (vision.image_size, vision.patch_size, vision.num_attention_heads) == (336, 14, 16)
    assert (vision.hidden_act, vision.layer_norm_eps) == ("quick_gelu", 1e-5)
    assert (config.projector_hidden_size, config.image_token_id) == (3072, 32044)


def test_the_full_size_has_the_published_number_of_parameters() -> None:
    """4,146,621,440, which is what the published files hold: 8,293,242,880 bytes in bfloat16."""
    model = tiny.random_model(size="full", device="meta")
    assert sum(p.numel() for p in model.parameters()) == 4_146_621_440


def test_a_projector_of_its_own_width_is_built() -> None:
    """`projector_hidden_size` is the width between the two linear layers."""
    fields = json.loads(tiny.random_model(size="tiny").config.to_json_string())
    config = Phi3VConfig.from_dict({**fields, "projector_hidden_size": 20})
    projection = Phi3VForCausalLM(config).model.vision_embed_tokens.img_projection
    assert [tuple(projection[i].weight.shape) for i in (0, 2)] == [(20, 128), (48, 20)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"embd_layer": {"hd_transform_order": "glb_sub"}}, "hd_transform_order"),
        ({"embd_layer": {"use_hd_transform": False}}, "use_hd_transform"),
        ({"img_processor": {"type_feature": "cls_patch"}}, "type_feature"),
        ({"rope_scaling": {"type": "yarn"}}, "'yarn'"),
        ({"vision_config": {"image_size": 42}}, "even number of patches"),
        ({"vision_config": {"image_size": 340}}, "even number of patches"),
    ],
)
def test_variants_that_were_never_released_are_refused(fields, message) -> None:
    """A setting that this code does not follow is an error, not a wrong answer."""
    with pytest.raises(ValueError, match=message):
        Phi3VConfig(**fields)
