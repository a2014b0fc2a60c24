"""Moondream, against the published facts restated naively: loops, plain formulas, tables."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    PhiConfig,
    SiglipVisionConfig,
)

from distill.training.requirements import check_base
from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import Exit, HarnessError
from harness.engine.cache_argument import KV_CACHE
from harness.families.moondream.classes import register
from harness.families.moondream.modeling import stitch
from harness.families.moondream.processing import crop_grid
from harness.families.moondream.tiny import build, random_model
from harness.models import (
    MoondreamConfig,
    MoondreamForConditionalGeneration,
    MoondreamImageProcessor,
    MoondreamProcessor,
)
from harness.models.loading import LoadOptions, load

IMAGE_TOKENS = 16  # (56 / 14)^2, the tiny checkpoint's
QUESTION = "<image>\n\nQuestion: Which of these states is farthest west?\n\nAnswer:"


def picture(width, height, *, seed=0, mode="RGB"):
    noise = np.random.default_rng(seed).integers(0, 256, (7, 9, 4), dtype=np.uint8)
    return Image.fromarray(noise, "RGBA").resize((width, height)).convert(mode)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("moondream")
    build(path)
    return path


@pytest.fixture(scope="module")
def model(folder):
    return AutoModelForImageTextToText.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def processor(folder):
    return MoondreamProcessor.from_pretrained(folder)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture(scope="module")
def batch(processor):
    """Three rows: two tiles, none, four; texts of three lengths."""
    return processor(
        images=[picture(120, 60), picture(40, 50, seed=1), picture(150, 150, seed=2)],
        text=[
            QUESTION,
            "<image>\n\nQuestion: What?\n\nAnswer:",
            "Look: <image> A long one? Answer:",
        ],
        padding=True,
        return_tensors="pt",
    )


def answers(model, inputs, tokens=8, **how):
    """The new tokens of each row, up to its end token."""
    new = model.generate(**inputs, max_new_tokens=tokens, **how)
    # With embeddings alone, generate() returns no prompt.
    prompt = 0 if "inputs_embeds" in inputs else inputs["input_ids"].shape[1]
    rows = new[:, prompt:].tolist()
    end = model.generation_config.eos_token_id
    return [row[: row.index(end) + 1] if end in row else row for row in rows]


def published(folder):
    return load_file(folder / "model.safetensors")


# What becomes of an image


# Width, height, rows and columns by the published rule. 768 x 512 shows its swapped comparison:
# compared rightly, it would be 1 x 2.
GRIDS = [
    (1, 1, 1, 1),
    (100, 100, 1, 1),
    (378, 378, 1, 1),
    (511, 511, 1, 1),
    (511, 1, 1, 1),
    (512, 511, 1, 1),
    (512, 512, 1, 1),
    (512, 384, 1, 1),
    (384, 512, 1, 1),
    (567, 567, 1, 1),
    (568, 568, 2, 2),
    (600, 600, 2, 2),
    (640, 480, 1, 1),
    (480, 640, 1, 1),
    (768, 512, 2, 2),
    (512, 768, 2, 1),
    (800, 600, 2, 2),
    (640, 427, 1, 1),
    (756, 378, 1, 2),
    (378, 756, 2, 1),
    (756, 756, 2, 2),
    (1024, 512, 1, 2),
    (512, 1024, 2, 1),
    (1000, 667, 2, 2),
    (667, 1000, 2, 1),
    (512, 342, 1, 1),
    (342, 512, 2, 1),
    (1920, 1080, 1, 2),
    (1080, 1920, 2, 1),
    (3000, 40, 1, 2),
    (40, 3000, 2, 1),
    (2000, 2000, 2, 2),
    (751, 500, 1, 2),
    (512, 341, 1, 2),
]


def naive_grid(width, height, side):
    """The published rule in one loop: the first of the best by aspect, then by size."""
    if max(width, height) < 512 * side / 378:
        return 1, 1
    best = None
    for tall, wide in ((side, side), (side, 2 * side), (2 * side, side), (2 * side, 2 * side)):
        score = (abs(wide / tall - width / height), abs(tall - width) + abs(wide - height))
        if best is None or score < best[0]:
            best = (score, (tall // side, wide // side))
    return best[1]


@pytest.mark.parametrize(("width", "height", "rows", "columns"), GRIDS)
def test_grid_table(width, height, rows, columns):
    """An image is tiled as the published rule tiles it, its swapped comparison included."""
    assert crop_grid(width, height) == (rows, columns) == naive_grid(width, height, 378)


@pytest.mark.parametrize(
    ("width", "height", "side", "expected"),
    [
        (75, 75, 56, (1, 1)),  # 512 * 56 / 378 = 75.85
        (76, 20, 56, (1, 2)),
        (255, 500, 189, (2, 1)),
        (255, 100, 189, (1, 1)),  # 512 * 189 / 378 = 256 exactly
        (256, 100, 189, (1, 2)),
    ],
)
def test_small_image_threshold_scales(width, height, side, expected):
    """The size from which an image is tiled is 512 s / 378."""
    assert crop_grid(width, height, image_size=side) == expected == naive_grid(width, height, side)


@pytest.mark.parametrize("side", [28, 56, 378, 448])
def test_grid_agrees_with_the_naive_rule_everywhere(side):
    """Over many sizes and geometries the rule equals its naive restatement."""
    sizes = [
        1,
        side // 2,
        side,
        int(side * 1.36),
        int(side * 1.5),
        2 * side,
        2 * side + 1,
        5 * side,
    ]
    for width in sizes:
        for height in sizes:
            assert crop_grid(width, height, image_size=side) == naive_grid(width, height, side)


def naive_bilinear(values, size):
    """(H, W, C) to (size, size, C): pixel centres, no antialiasing, clamped at the border."""
    height, width, _ = values.shape
    out = np.zeros((size, size, values.shape[2]))
    for y in range(size):
        for x in range(size):
            v = max((y + 0.5) * height / size - 0.5, 0)
            u = max((x + 0.5) * width / size - 0.5, 0)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            above = values[top, left] * (left + 1 - u) + values[top, right] * (u - left)
            below = values[bottom, left] * (left + 1 - u) + values[bottom, right] * (u - left)
            out[y, x] = above * (top + 1 - v) + below * (v - top)
    return out


@pytest.mark.parametrize("size", [(40, 50), (120, 60), (61, 130), (150, 149)])
def test_views(size):
    """The first view is the whole image, bilinear from the bicubic one; the rest are its tiles."""
    side, image = 56, picture(*size)
    out = MoondreamImageProcessor(side).preprocess([image], return_tensors="pt")
    rows, columns = out["image_grids"][0].tolist()
    assert (rows, columns) == naive_grid(*size, side)
    resized = np.asarray(image.resize((columns * side, rows * side), Image.Resampling.BICUBIC))
    pixels = (resized.astype(np.float32) * np.float32(1 / 255) - np.float32(0.5)) / np.float32(0.5)
    views = out["pixel_values"][0].permute(0, 2, 3, 1).numpy()
    assert views.dtype == np.float32
    np.testing.assert_allclose(views[0], naive_bilinear(pixels, side), atol=1e-5)
    expected = []
    if rows * columns > 1:
        for row in range(rows):
            for column in range(columns):
                expected.append(pixels[row * side :, column * side :][:side, :side])  # noqa: PERF401
    assert len(views) == 1 + len(expected)
    for view, tile in zip(views[1:], expected, strict=True):
        np.testing.assert_array_equal(view, tile)


def test_views_of_a_batch_are_padded_with_zeros():
    """Images with fewer tiles than others get zeros, and are the same as alone."""
    images = [picture(40, 50), picture(150, 150, seed=1)]
    processor = MoondreamImageProcessor(56)
    together = processor.preprocess(images, return_tensors="pt")["pixel_values"]
    alone = processor.preprocess(images[0], return_tensors="pt")["pixel_values"]
    assert together.shape == (2, 5, 3, 56, 56)
    assert torch.equal(together[:1, :1], alone)
    assert not together[0, 1:].any()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "CMYK"])
def test_any_mode_becomes_rgb_by_dropping_alpha(mode):
    """Transparent pixels show the colour that is stored beneath them."""
    image = picture(40, 50, mode=mode)
    processor = MoondreamImageProcessor(56)
    assert torch.equal(
        processor.preprocess(image, return_tensors="pt")["pixel_values"],
        processor.preprocess(image.convert("RGB"), return_tensors="pt")["pixel_values"],
    )
    if mode == "RGBA":
        opaque = image.copy()
        opaque.putalpha(255)
        assert torch.equal(
            processor.preprocess(image)["pixel_values"],
            processor.preprocess(opaque)["pixel_values"],
        )


@pytest.mark.parametrize("grid", [(1, 2), (2, 1), (2, 2)])
def test_stitching_equals_a_naive_loop(grid):
    """Tiles lie where they were cut, and the sheet shrinks bilinearly to one view's size."""
    (rows, columns), side, width = grid, 5, 3
    tiles = torch.randn(rows * columns, side * side, width)
    sheet = np.zeros((rows * side, columns * side, width))
    for number, tile in enumerate(tiles.numpy()):
        for position, feature in enumerate(tile):
            y = number // columns * side + position // side
            x = number % columns * side + position % side
            sheet[y, x] = feature
    expected = naive_bilinear(sheet, side).reshape(side * side, width)
    np.testing.assert_allclose(stitch(tiles, grid).numpy(), expected, atol=1e-5)


# What becomes of text


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({}, 729),
        ({"image_size": 56}, 16),
        ({"image_size": 70, "patch_size": 14}, 25),
        ({"image_size": 64, "patch_size": 16}, 16),
    ],
)
def test_image_token_count(fields, tokens):
    """An image is (s / patch)^2 tokens, however it is tiled."""
    assert MoondreamConfig(vision_config=fields).image_seq_length == tokens


def test_sequence(processor):
    """BOS, then the pieces of text, tokenized one by one, around the image's tokens."""
    before, after = "Look: ", "\n\nWhat?"
    inputs = processor(images=picture(9, 9), text=f"{before}<image>{after}")
    encode = processor.tokenizer.encode
    expected = [
        processor.tokenizer.bos_token_id,
        *encode(before, add_special_tokens=False),
        *[511] * IMAGE_TOKENS,
        *encode(after, add_special_tokens=False),
    ]
    assert inputs["input_ids"] == [expected]
    bare = processor(images=picture(9, 9), text=f"{before}<image>{after}", add_special_tokens=False)
    assert bare["input_ids"] == [expected[1:]]


def test_padding_is_on_the_left(batch, processor):
    """Padding stands before BOS; on request it stands after the text."""
    for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
        start = int(mask.argmax())
        assert mask[start:].all()
        assert not mask[:start].any()
        assert ids[start] == processor.tokenizer.bos_token_id
    right = processor(
        text=["a b c d", "a"], padding=True, padding_side="right", return_tensors="pt"
    )
    assert right["attention_mask"][1].tolist()[0] == 1
    assert right["attention_mask"][1].tolist()[-1] == 0


@pytest.mark.parametrize(
    ("images", "text"),
    [
        ([], [QUESTION]),
        (None, [QUESTION]),
        ([picture(9, 9)], ["no image"]),
        ([picture(9, 9)], [QUESTION, QUESTION]),
        ([picture(9, 9)] * 2, [QUESTION]),
        ([[picture(9, 9)], []], ["none", QUESTION]),
        ([[picture(9, 9)]], [QUESTION, "none"]),
        ([None, picture(9, 9)], [QUESTION, "none"]),
    ],
)
def test_wrong_number_of_images(processor, images, text):
    """As many images as `<image>`s, text by text where images come text by text."""
    with pytest.raises(ValueError, match="<image> in the texts"):
        processor(images=images, text=text)


def test_refused_inputs(processor):
    """Neither nothing, nor something that is no image, nor half an image is taken."""
    with pytest.raises(ValueError, match="images, text or both"):
        processor()
    with pytest.raises(TypeError, match="not str"):
        processor(images=["a.png"], text=[QUESTION])
    with pytest.raises(ValueError, match="cut an image"):
        processor(images=picture(9, 9), text=QUESTION, truncation=True, max_length=10)
    cut = processor(text="a b c d e f", truncation=True, max_length=3)
    assert len(cut["input_ids"][0]) == 3


@pytest.mark.parametrize("form", ["flat", "nested", "optional"])
def test_forms_of_images(processor, form):
    """A flat list, a list for each text and an image or None for each text say the same."""
    a, b = picture(9, 9), picture(150, 150)
    images = {"flat": [a, b], "nested": [[a], [], [b]], "optional": [a, None, b]}[form]
    inputs = processor(images=images, text=[QUESTION, "none", QUESTION], padding=True)
    assert inputs["image_grids"].tolist() == [[1, 1], [2, 2]]
    counts = [ids.count(511) for ids in inputs["input_ids"]]
    assert counts == [IMAGE_TOKENS, 0, IMAGE_TOKENS]


def test_processor_round_trip(processor, tmp_path):
    """A saved processor comes back the same, by its own class and by AutoProcessor."""
    processor.save_pretrained(tmp_path)
    image = picture(150, 80)
    expected = processor(images=image, text=QUESTION, return_tensors="pt")
    for again in (
        MoondreamProcessor.from_pretrained(tmp_path),
        AutoProcessor.from_pretrained(tmp_path),
    ):
        assert isinstance(again, MoondreamProcessor)
        found = again(images=image, text=QUESTION, return_tensors="pt")
        assert all(torch.equal(found[name], expected[name]) for name in expected)


# The checkpoint folder


def test_published_folder_loads(folder):
    """The auto classes load the published layout, every tensor of it and no other."""
    assert not (folder / "preprocessor_config.json").exists()
    register()  # once more does no harm
    for auto in (AutoModelForImageTextToText, AutoModelForCausalLM):
        model, info = auto.from_pretrained(folder, output_loading_info=True)
        assert type(model) is MoondreamForConditionalGeneration
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        assert not info["mismatched_keys"]
    assert type(AutoConfig.from_pretrained(folder)) is MoondreamConfig
    assert type(AutoProcessor.from_pretrained(folder)) is MoondreamProcessor


@pytest.mark.parametrize("arguments", [{}, {"trust_remote_code": False}])
def test_no_code_of_the_folder_is_run(copy, arguments, monkeypatch):
    """What auto_map names is neither imported nor asked about."""
    marker = copy / "ran"
    code = f"open({str(marker)!r}, 'w').close()\n"
    for name in ("configuration_moondream", "moondream", "processing"):
        (copy / f"{name}.py").write_text(code)
    config = json.loads((copy / "config.json").read_text())
    config["auto_map"]["AutoModelForImageTextToText"] = "moondream.Moondream"
    config["auto_map"]["AutoProcessor"] = "processing.Processor"
    (copy / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    AutoConfig.from_pretrained(copy, **arguments)
    AutoModelForImageTextToText.from_pretrained(copy, **arguments)
    AutoModelForCausalLM.from_pretrained(copy, **arguments)
    MoondreamProcessor.from_pretrained(copy, **arguments)
    assert not marker.exists()


def test_saved_tensors_are_the_published_ones(folder, model, tmp_path):
    """Published to ours to published is bit-equal, in names, shapes and values."""
    model.save_pretrained(tmp_path)
    before, after = published(folder), published(tmp_path)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    shutil.copy(folder / "config.json", tmp_path / "config.json")  # the published form again
    shutil.copy(folder / "tokenizer.json", tmp_path)
    shutil.copy(folder / "tokenizer_config.json", tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert all(
        torch.equal(one, other)
        for one, other in zip(again.parameters(), model.parameters(), strict=True)
    )


def test_a_saved_model_says_all_it_needs(model, batch, tmp_path):
    """A saved folder loads on its own, names no code, and answers as before."""
    model.save_pretrained(tmp_path)
    assert "auto_map" not in json.loads((tmp_path / "config.json").read_text())
    again = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(again(**batch).logits, model(**batch).logits)
    assert again.generation_config.eos_token_id == model.generation_config.eos_token_id


def test_published_names_and_shapes(folder):
    """The folder's tensors have the names and shapes of the published file."""
    shapes = {name: tuple(tensor.shape) for name, tensor in published(folder).items()}
    assert len(shapes) == 58
    visual = "vision_encoder.encoder.model.visual"
    for name, shape in {
        f"{visual}.patch_embed.linear.weight": (32, 588),
        f"{visual}.pos_embed": (1, 16, 32),
        f"{visual}.blocks.1.attn.qkv.weight": (96, 32),
        f"{visual}.blocks.1.attn.proj.bias": (32,),
        f"{visual}.norm.weight": (32,),
        "vision_encoder.projection.mlp.fc1.weight": (64, 64),
        "text_model.transformer.embd.wte.weight": (512, 64),
        "text_model.transformer.h.1.mixer.Wqkv.bias": (192,),
        "text_model.transformer.h.1.ln.weight": (64,),
        "text_model.lm_head.ln.bias": (64,),
        "text_model.lm_head.linear.bias": (512,),
    }.items():
        assert shapes[name] == shape


def test_where_published_tensors_go(folder, model):
    """Fused projections are cut in three, and a patch is flattened channel by channel."""
    tensors, ours = published(folder), model.state_dict()
    fused = tensors["text_model.transformer.h.1.mixer.Wqkv.weight"]
    for part, name in enumerate("qkv"):
        mine = ours[f"model.language_model.layers.1.self_attn.{name}_proj.weight"]
        assert torch.equal(mine, fused[64 * part : 64 * (part + 1)])
    linear = tensors["vision_encoder.encoder.model.visual.patch_embed.linear.weight"]
    kernel = ours["model.vision_tower.embeddings.patch_embedding.weight"]
    assert kernel[5, 2, 3, 11] == linear[5, 2 * 14 * 14 + 3 * 14 + 11]


def broken(folder, change):
    tensors = published(folder)
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    "name",
    [
        "text_model.lm_head.linear.bias",
        "text_model.transformer.h.0.mixer.Wqkv.weight",
        "vision_encoder.encoder.model.visual.pos_embed",
    ],
)
def test_a_missing_tensor_is_an_error(copy, name):
    """What is not in the file is not made up."""
    broken(copy, lambda tensors: tensors.pop(name))
    with pytest.raises(HarnessError, match="is missing") as caught:
        AutoModelForImageTextToText.from_pretrained(copy)
    assert caught.value.code == Exit.MISSING


def test_a_tensor_of_another_shape_is_an_error(copy):
    """Neither is a tensor that does not fit."""
    name = "text_model.lm_head.ln.weight"
    broken(copy, lambda tensors: tensors.update({name: torch.ones(3)}))
    with pytest.raises(HarnessError, match=r"final_layernorm.weight is \(3,\), not \(64,\)\."):
        AutoModelForImageTextToText.from_pretrained(copy)


def test_a_cut_file_is_an_error(copy):
    """A download that broke off is not loaded."""
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(SafetensorError):
        AutoModelForImageTextToText.from_pretrained(copy)


def test_the_region_model_is_left_out_without_a_word(copy):
    """Revision 2024-08-26 has it, and answers questions without it; other tensors are named."""
    more = {"region_model.encoder.0.weight": torch.ones(3), "other.x": torch.ones(3)}
    broken(copy, lambda tensors: tensors.update(more))
    _, info = AutoModelForImageTextToText.from_pretrained(copy, output_loading_info=True)
    assert info["unexpected_keys"] == {"other.x"}


def half_a_projector(tensors):
    """Up to 2024-05-08, of the whole image alone: (P, C) in place of (P, 2 C)."""
    name = "vision_encoder.projection.mlp.fc1.weight"
    tensors[name] = tensors[name][:, : tensors[name].shape[1] // 2].contiguous()


def names_of_2025(tensors):
    """From 2025-01-09 on."""
    for name in list(tensors):
        tensors["model.text." + name] = tensors.pop(name)


@pytest.mark.parametrize(
    ("change", "words"),
    [(half_a_projector, "2024-05-08 or earlier"), (names_of_2025, "2025-01-09 or later")],
)
@pytest.mark.parametrize("way", ["harness", "transformers", "distill"])
def test_other_revisions_are_refused(copy, change, words, way):
    """What helps is another revision, not another download; by whichever way it is loaded; and a
    student before anything takes long."""
    broken(copy, change)
    checkpoint, options = find_checkpoint(str(copy)), LoadOptions(device="cpu", dtype="float32")
    ways = {
        "harness": lambda: load(checkpoint, options),
        "transformers": lambda: AutoModelForImageTextToText.from_pretrained(copy),
        "distill": lambda: check_base(copy),
    }
    with pytest.raises(HarnessError, match=words) as caught:
        ways[way]()
    sentence = "harness runs 2024-05-20 to 2024-08-26; use --model-revision 2024-07-23"
    assert sentence in str(caught.value)
    assert "ownload" not in str(caught.value)
    assert caught.value.code == Exit.MISSING


# The config


def test_published_config_means_published_sizes():
    """A config.json without sizes is the published model, down to the count of its parameters."""
    config = MoondreamConfig(text_config={"model_type": "phi"}, torch_dtype="float16")
    vision, text = config.vision_config, config.text_config
    assert (vision.hidden_size, vision.num_hidden_layers, vision.intermediate_size) == (
        1152,
        27,
        4304,
    )
    assert (vision.image_size, vision.patch_size, vision.num_attention_heads) == (378, 14, 16)
    assert vision.layer_norm_eps == 1e-5
    assert not vision.vision_use_head
    assert (text.vocab_size, text.hidden_size, text.num_hidden_layers) == (51200, 2048, 24)
    assert text.rope_parameters["partial_rotary_factor"] == 0.5
    assert (text.bos_token_id, text.eos_token_id) == (50256, 50256)
    assert (config.projector_hidden_size, config.image_token_id) == (8192, 51199)
    model = random_model(size="full", device="meta")
    assert sum(p.numel() for p in model.parameters()) == 1_866_919_792


def test_sizes_that_are_left_out_are_the_published_ones():
    """A partial vision_config or text_config keeps the published rest."""
    config = MoondreamConfig(vision_config={"image_size": 56}, text_config={"vocab_size": 600})
    assert config.vision_config.hidden_size == 1152
    assert config.vision_config.layer_norm_eps == 1e-5
    assert config.text_config.hidden_size == 2048
    assert config.text_config.eos_token_id is None  # 50256 is not in a vocabulary of 600


def test_config_takes_config_objects():
    """The library's own config objects may stand in for dictionaries."""
    config = MoondreamConfig(
        vision_config=SiglipVisionConfig(hidden_size=24), text_config=PhiConfig(hidden_size=48)
    )
    assert (config.vision_config.hidden_size, config.text_config.hidden_size) == (24, 48)
    assert not config.vision_config.vision_use_head


# The model


def reference(tensors, views, grid, before, after):
    """The published architecture, restated with plain operations, for one image of one row.

    views (V, 3, s, s); before and after: lists of token ids. Returns logits (L, vocabulary).
    """

    def linear(x, name):
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def norm(x, name):
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return x * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def gelu(x):
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    def heads(x, count):
        return x.unflatten(-1, (count, -1)).transpose(-2, -3)

    def mlp(x, name):
        return linear(gelu(linear(x, f"{name}.fc1")), f"{name}.fc2")

    visual = "vision_encoder.encoder.model.visual"
    side = views.shape[-1] // 14
    rows = []
    for view in views:
        patches = [
            view[:, 14 * y : 14 * y + 14, 14 * x : 14 * x + 14].flatten()
            for y in range(side)
            for x in range(side)
        ]
        x = linear(torch.stack(patches), f"{visual}.patch_embed.linear")
        x = x + tensors[f"{visual}.pos_embed"][0]
        for layer in range(2):
            block = f"{visual}.blocks.{layer}"
            q, k, v = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv").chunk(3, dim=-1)
            q, k, v = (heads(each, 2) for each in (q, k, v))
            weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
            x = x + linear((weights @ v).transpose(0, 1).flatten(1), f"{block}.attn.proj")
            x = x + mlp(norm(x, f"{block}.norm2"), f"{block}.mlp")
        rows.append(norm(x, f"{visual}.norm"))
    detail = stitch(torch.stack(rows[1:]), grid) if len(rows) > 1 else rows[0]
    image = mlp(torch.cat([rows[0], detail], dim=-1), "vision_encoder.projection.mlp")
    words = tensors["text_model.transformer.embd.wte.weight"]
    x = torch.cat([words[before], image, words[after]])

    def rotate(
        x,
    ):  # the first half of a head's 16 channels turns, pair (i, i + 4) by t / 10000^(i / 4)
        angle = torch.arange(x.shape[1])[:, None] * 10000.0 ** (-torch.arange(4) / 4)
        one, two, rest = x[..., :4], x[..., 4:8], x[..., 8:]
        cos, sin = angle.cos(), angle.sin()
        return torch.cat([one * cos - two * sin, two * cos + one * sin, rest], dim=-1)

    future = torch.full((len(x), len(x)), -math.inf).triu(1)
    for layer in range(2):
        block = f"text_model.transformer.h.{layer}"
        normed = norm(x, f"{block}.ln")
        q, k, v = linear(normed, f"{block}.mixer.Wqkv").chunk(3, dim=-1)
        q, k, v = rotate(heads(q, 4)), rotate(heads(k, 4)), heads(v, 4)
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + future).softmax(-1)
        attended = linear((weights @ v).transpose(0, 1).flatten(1), f"{block}.mixer.out_proj")
        x = x + attended + mlp(normed, f"{block}.mlp")
    return linear(norm(x, "text_model.lm_head.ln"), "text_model.lm_head.linear")


@pytest.fixture(scope="module")
def unruly(tmp_path_factory):
    """A checkpoint whose norms and biases are random too, so that none of them can be left out."""
    path = tmp_path_factory.mktemp("unruly")
    build(path)
    generator = torch.Generator().manual_seed(1)

    def shake(tensors):
        for name, tensor in tensors.items():
            noise = torch.randn(tensor.shape, generator=generator)
            tensors[name] = tensor + 0.3 * noise if tensor.ndim == 1 else 0.3 * noise

    broken(path, shake)
    return path


@pytest.mark.parametrize("size", [(40, 50), (120, 60), (60, 120), (150, 150)])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_logits_equal_the_architecture_restated(unruly, size, attention):
    """Logits are those of the published architecture written out with plain operations."""
    model = AutoModelForImageTextToText.from_pretrained(unruly, attn_implementation=attention)
    processor = MoondreamProcessor.from_pretrained(unruly)
    inputs = processor(images=picture(*size), text="Look: <image> what?", return_tensors="pt")
    ids = inputs["input_ids"][0].tolist()
    first = ids.index(511)
    expected = reference(
        published(unruly),
        inputs["pixel_values"][0],
        tuple(inputs["image_grids"][0].tolist()),
        ids[:first],
        ids[first + IMAGE_TOKENS :],
    )
    with torch.no_grad():
        logits = model(**inputs).logits[0]
    assert expected.std() > 0.5
    torch.testing.assert_close(logits, expected, atol=5e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["past_key_values", "cache"])
def test_steps_with_a_cache_equal_one_pass(model, batch, name):
    """Token by token with the cache gives the logits of the whole sequence at once; transformers
    renamed the argument in 5.24, and both names are taken."""
    with torch.no_grad():
        ids = model.generate(**batch, max_new_tokens=6)
        new = ids[:, batch["input_ids"].shape[1] :]
        mask = torch.cat([batch["attention_mask"], torch.ones_like(new)], dim=1)
        whole = model(**{**batch, "input_ids": ids, "attention_mask": mask}).logits
        step = model(**batch, use_cache=True)
        for number in range(5):
            length = batch["input_ids"].shape[1] + number + 1
            step = model(
                input_ids=new[:, number : number + 1],
                attention_mask=mask[:, :length],
                **{name: getattr(step, KV_CACHE)},
            )
            torch.testing.assert_close(
                step.logits[:, -1], whole[:, length - 1], atol=1e-4, rtol=1e-4
            )


@pytest.mark.parametrize("way", [{"use_cache": False}, {"cache_implementation": "static"}])
def test_caches_agree(model, batch, way):
    """Without a cache, and with a static one, the answers are the same."""
    assert answers(model, batch, 12, **way) == answers(model, batch, 12)


@pytest.mark.parametrize("size", [1, 3, 8])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_row_is_the_same_in_any_batch(folder, processor, size, attention):
    """Padding, tiles and neighbours change neither a row's logits nor its answer."""
    model = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation=attention)
    images = [picture(30 + 17 * i, 150 - 13 * i, seed=i) for i in range(size)]
    texts = [f"<image>\n\nQuestion: {'why ' * (5 * i % 7)}?\n\nAnswer:" for i in range(size)]
    together = processor(images=images, text=texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**together).logits
        found = answers(model, together)
        for row, (image, text) in enumerate(zip(images, texts, strict=True)):
            alone = processor(images=[image], text=[text], return_tensors="pt")
            length = alone["input_ids"].shape[1]
            torch.testing.assert_close(
                logits[row, -length:], model(**alone).logits[0], atol=1e-4, rtol=1e-4
            )
            assert answers(model, alone) == [found[row]]


def test_text_alone_and_mixed_batches(model, processor):
    """Rows without an image run, alone and beside rows that have one or two."""
    texts = ["Question: What is 2 + 2?\n\nAnswer:", QUESTION, "<image> and <image>: same?"]
    images = [picture(40, 50), picture(150, 150, seed=1), picture(120, 60, seed=2)]
    mixed = processor(images=images, text=texts, padding=True, return_tensors="pt")
    alone = processor(text=texts[:1], return_tensors="pt")
    assert "pixel_values" not in alone
    expected = answers(model, alone)
    for text, some in ((texts[1], images[:1]), (texts[2], images[1:])):
        expected += answers(model, processor(images=some, text=[text], return_tensors="pt"))
    assert answers(model, mixed) == expected


def test_positions_of_padded_rows_count_from_their_first_token(model, batch):
    """A padded row's positions start at 0 where its text does."""
    seen = []
    hook = model.model.language_model.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.append(kwargs["position_ids"]), with_kwargs=True
    )
    with torch.no_grad():
        model(**batch)
    hook.remove()
    for positions, mask in zip(seen[0], batch["attention_mask"], strict=True):
        assert positions[mask.bool()].tolist() == list(range(int(mask.sum())))


def test_embeddings_may_be_given(model, batch):
    """inputs_embeds give what input_ids give: bare, and with the images' already in place."""
    rest = {name: value for name, value in batch.items() if name != "input_ids"}
    embeds = model.get_input_embeddings()(batch["input_ids"])
    features = model.get_image_features(batch["pixel_values"], batch["image_grids"])
    merged = model.model.embed(batch["input_ids"], None, features)
    with torch.no_grad():
        expected = model(**batch).logits
        assert torch.equal(model(inputs_embeds=embeds, **rest).logits, expected)
        mask = batch["attention_mask"]
        assert torch.equal(model(inputs_embeds=merged, attention_mask=mask).logits, expected)
        assert answers(model, {"inputs_embeds": embeds, **rest}) == answers(model, batch)


def test_image_features_can_be_kept(model, batch):
    """Features that were computed before stand in for the pixels they came from."""
    with torch.no_grad():
        features = model.get_image_features(batch["pixel_values"], batch["image_grids"])
        assert features.shape == (3, IMAGE_TOKENS, 64)
        text = {name: batch[name] for name in ("input_ids", "attention_mask")}
        assert torch.equal(model(**text, image_features=features).logits, model(**batch).logits)
        assert answers(model, {**text, "image_features": features}) == answers(model, batch)
    with pytest.raises(ValueError, match="either pixel_values or image_features"):
        model(**batch, image_features=features)


@pytest.mark.parametrize("way", [{}, {"use_cache": False}, {"num_beams": 3}])
def test_images_are_encoded_once(model, batch, way):
    """One run of the vision tower serves a whole generation."""
    runs = []
    hook = model.model.vision_tower.register_forward_hook(lambda *_: runs.append(1))
    model.generate(**batch, max_new_tokens=5, **way)
    hook.remove()
    assert len(runs) == 1


def test_beams_keep_each_rows_images(model, processor):
    """Beams of a row with two images, of one with one and of one with none do not mix them up."""
    texts = ["none?", "<image> and <image>: same?", QUESTION]
    images = [[], [picture(40, 50), picture(150, 150, seed=1)], [picture(120, 60, seed=2)]]
    together = processor(images=images, text=texts, padding=True, return_tensors="pt")
    found = answers(model, together, num_beams=2)
    for row, (text, some) in enumerate(zip(texts, images, strict=True)):
        alone = processor(images=[some], text=[text], return_tensors="pt")
        assert answers(model, alone, num_beams=2) == [found[row]]


def test_image_tokens_and_images_must_agree(model, batch):
    """Image tokens without an image, and images without their tokens, are refused."""
    text = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with pytest.raises(ValueError, match="no pixel_values"):
        model(**text)
    with pytest.raises(ValueError, match="48 image tokens in the input, 32 wanted"):
        model(**text, pixel_values=batch["pixel_values"][:2], image_grids=batch["image_grids"][:2])
    with pytest.raises(ValueError, match="image_grids"):
        model(**text, pixel_values=batch["pixel_values"])
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        model(attention_mask=batch["attention_mask"])


def test_an_image_token_outside_the_vocabulary(copy):
    """A small vocabulary with the published image token, 51199, runs."""
    config = json.loads((copy / "config.json").read_text())
    del config["image_token_id"]
    (copy / "config.json").write_text(json.dumps(config))
    processor = MoondreamProcessor.from_pretrained(copy)
    inputs = processor(images=picture(9, 9), text=QUESTION, return_tensors="pt")
    assert int(inputs["input_ids"].max()) == 51199
    model = AutoModelForImageTextToText.from_pretrained(copy)
    text = processor.batch_decode(model.generate(**inputs, max_new_tokens=4))
    assert text[0].startswith("<|endoftext|>\n\nQuestion:")


def test_answers_end_at_the_tokenizers_end_token(copy):
    """In a folder that says nothing of generation the tokenizer's end token ends an answer."""
    (copy / "generation_config.json").unlink()
    end = MoondreamProcessor.from_pretrained(copy).tokenizer.eos_token_id

    def prefer(tensors):
        tensors["text_model.lm_head.linear.bias"][end] = 1e4

    broken(copy, prefer)
    model = AutoModelForImageTextToText.from_pretrained(copy)
    assert model.generation_config.eos_token_id == end
    inputs = MoondreamProcessor.from_pretrained(copy)(text="a b", return_tensors="pt")
    new = model.generate(**inputs, max_new_tokens=9)[:, inputs["input_ids"].shape[1] :]
    assert new.tolist() == [[end]]


def test_a_folders_own_end_tokens_are_kept(copy):
    """What generation_config.json says of the end token holds."""
    (copy / "generation_config.json").write_text('{"eos_token_id": [3, 4]}')
    model = AutoModelForImageTextToText.from_pretrained(copy)
    assert model.generation_config.eos_token_id == [3, 4]


def test_half_precision(folder, batch):
    """In bfloat16 the model runs, pixels in float32 included, and stays near float32."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16)
    with torch.no_grad():
        logits = model(**batch).logits
        exact = AutoModelForImageTextToText.from_pretrained(folder)(**batch).logits
    assert logits.dtype == torch.bfloat16
    kept = batch["attention_mask"].bool()
    assert (
        torch.nn.functional.cosine_similarity(logits.float()[kept], exact[kept], dim=-1).min()
        > 0.99
    )
    assert model.generate(**batch, max_new_tokens=4).shape[1] == batch["input_ids"].shape[1] + 4


# Training


def answered(batch):
    """The batch with labels on its last four tokens."""
    labels = torch.full_like(batch["input_ids"], -100)
    labels[:, -4:] = batch["input_ids"][:, -4:]
    return {**batch, "labels": labels}


def test_loss_is_the_mean_over_labels(model, batch):
    """The loss is the mean negative log-likelihood of the labelled tokens."""
    inputs = answered(batch)
    with torch.no_grad():
        outputs = model(**inputs)
    chances = outputs.logits[:, :-1].log_softmax(-1)
    total, count = 0.0, 0
    for row, labels in enumerate(inputs["labels"][:, 1:]):
        for place, label in enumerate(labels):
            if label >= 0:
                total, count = total - chances[row, place, label].item(), count + 1
    assert count == 12
    assert outputs.loss.item() == pytest.approx(total / count, rel=1e-5)


def test_logits_to_keep(model, batch):
    """The last logits, or chosen ones, can be had without the others."""
    with torch.no_grad():
        whole = model(**batch).logits
        torch.testing.assert_close(model(**batch, logits_to_keep=2).logits, whole[:, -2:])
        places = torch.tensor([0, 5])
        torch.testing.assert_close(model(**batch, logits_to_keep=places).logits, whole[:, places])


def test_checkpointing_changes_no_gradient(folder, batch):
    """Recomputing activations gives the gradients that keeping them gives."""
    gradients = []
    for recompute in (False, True):
        model = AutoModelForImageTextToText.from_pretrained(folder).train()
        if recompute:
            model.gradient_checkpointing_enable()
            assert model.model.language_model.layers[0].gradient_checkpointing
            assert model.model.vision_tower.encoder.layers[0].gradient_checkpointing
        model(**answered(batch), use_cache=False).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        torch.testing.assert_close(gradients[1][name], gradient)


def test_parts_freeze_by_name(folder, batch):
    """The text model learns while the vision tower and the projector stay as they are."""
    model = AutoModelForImageTextToText.from_pretrained(folder).train()
    model.model.vision_tower.requires_grad_(False)
    model.model.projector.requires_grad_(False)
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    assert len(frozen) == 2 + 1 + 2 * 16 + 2 + 4
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=1e-2)
    losses = []
    for _ in range(5):
        loss = model(**answered(batch)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)


def test_layout_that_trainers_ask_for(model, batch):
    """`model` is the backbone, its last hidden state through the output embeddings the logits."""
    assert model.base_model_prefix == "model"
    assert model.base_model is model.model
    with torch.no_grad():
        hidden = model.model(**batch).last_hidden_state
        assert torch.equal(model.get_output_embeddings()(hidden), model(**batch).logits)
    assert model.get_output_embeddings() is model.lm_head
    assert model.get_input_embeddings() is model.model.language_model.embed_tokens
    outputs = model(**batch, output_hidden_states=True)
    assert len(outputs.hidden_states) == 3


# The builders


def test_tiny_checkpoint_is_small_and_repeatable(folder, tmp_path):
    """It stays below 2 MB; a seed gives the same weights each time, another seed others."""
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2_000_000
    build(tmp_path / "same")
    build(tmp_path / "other", seed=1)
    name = "text_model.lm_head.linear.weight"
    first = published(folder)[name]
    assert torch.equal(published(tmp_path / "same")[name], first)
    assert not torch.equal(published(tmp_path / "other")[name], first)
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "moondream1"
    assert config["auto_map"]["AutoModelForCausalLM"] == "moondream.Moondream"


def test_random_model_leaves_the_random_state_alone():
    """A seed decides the weights, and the caller's own random numbers are as before."""
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, other = (random_model(size="tiny", dtype=torch.bfloat16, seed=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert one.dtype == torch.bfloat16
    assert not one.training
    assert torch.equal(one.lm_head.weight, other.lm_head.weight)
    with pytest.raises(ValueError, match="there are tiny, mini, full"):
        random_model(size="huge")
