"""What harness repairs in transformers is still wrong there: a test that fails here says that a
repair can go."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest
import torch
import transformers
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    Llama4ForConditionalGeneration,
    LogitsProcessorList,
)

from harness.families import family_of
from harness.models.logits_processors import ForcedTokens
from tests.families.checkpoint import Words, build
from tests.families.dozen import DOZEN
from tests.families.extra_packages import EXTRA_PACKAGES
from tests.families.loop import Loop, questions
from tests.families.templated import TEMPLATED
from tests.families.untemplated import UNTEMPLATED

plain_install = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed"
)


@plain_install
def test_a_picture_needs_a_video_processor(tmp_path: Path) -> None:
    """See harness/checkpoints/picture_processor.py."""
    build(DOZEN["qwen2_vl"], tmp_path)
    with pytest.raises(ImportError, match="Video processor cannot be loaded"):
        AutoProcessor.from_pretrained(tmp_path, backend="pil")


@plain_install
def test_pixtral_imports_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file repairs it: both halves of the image processor have the function."""
    name = "transformers.models.pixtral.processing_pixtral"
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ModuleNotFoundError, match="torchvision"):
        importlib.import_module(name)


def forced(loop: Loop, family, token: int) -> list[int]:
    """The first token that `generate` gives where a logits processor allows only this one."""
    inputs = loop.inputs(*questions(family)[0])
    made = loop.model.generate(
        **inputs,
        do_sample=False,
        max_new_tokens=1,
        logits_processor=LogitsProcessorList([ForcedTokens(torch.tensor([[token]]))]),
    )
    return made[0, -1:].tolist()


def test_janus_leaves_out_logits_processors(tmp_path: Path) -> None:
    """See harness/families/janus.py; other classes apply them."""
    for name, families, kept in (("janus", TEMPLATED, False), ("llava", DOZEN, True)):
        family = families[name]
        loop = Loop(family, build(family, tmp_path / name))
        assert (forced(loop, family, 17) == [17]) is kept


def test_blip_cuts_the_last_token_of_a_prompt(tmp_path: Path) -> None:
    """See harness/families/blip.py."""
    family = UNTEMPLATED["blip"]
    loop = Loop(family, build(family, tmp_path))
    inputs = loop.inputs(*questions(family)[0])
    made = loop.model.generate(**inputs, do_sample=False, max_new_tokens=1)
    assert made.shape[1] == inputs["input_ids"].shape[1]


def test_blip_counts_padding_as_positions(tmp_path: Path) -> None:
    """So that its prompts share a batch only where they are of one length."""
    family = UNTEMPLATED["blip"]
    model = AutoModelForImageTextToText.from_pretrained(build(family, tmp_path)).eval()
    pixels = torch.rand(1, 3, 32, 32)
    ids = torch.arange(20, 30)[None]
    padded = torch.cat([torch.full((1, 4), 3), ids], dim=1)
    mask = (torch.arange(14) >= 4).long()[None]
    with torch.inference_mode():
        alone = model(pixel_values=pixels, input_ids=ids).logits[0, -1]
        among = model(pixel_values=pixels, input_ids=padded, attention_mask=mask).logits[0, -1]
    assert (alone - among).abs().max() > 0.1


def test_fuyu_cuts_arrays_and_is_given_tensors(tmp_path: Path) -> None:
    """See harness/families/fuyu.py: the PIL half of its image processor; put right, it cuts the
    patches row by row, channels last."""
    processor = AutoProcessor.from_pretrained(build(UNTEMPLATED["fuyu"], tmp_path), backend="pil")
    picture = Image.frombytes("RGB", (16, 8), bytes(range(192)) * 2)
    with pytest.raises(TypeError, match="transpose"):
        processor(images=[picture], text=["Why?\n"])
    family = family_of("fuyu")
    for _ in range(2):
        family.complete_processor(processor, {})
    patches = family.encode(processor, "Why?\n", [picture])["pixel_values"]
    for patch, left in zip(patches, (0, 8), strict=True):
        pixels = torch.frombuffer(
            bytearray(picture.crop((left, 0, left + 8, 8)).tobytes()), dtype=torch.uint8
        )
        torch.testing.assert_close(patch, pixels / 127.5 - 1)


@pytest.fixture
def llama4() -> Llama4ForConditionalGeneration:
    row = EXTRA_PACKAGES["llama4"]
    words = Words(row.tokens, row.more_tokens, bos=row.bos)
    return Llama4ForConditionalGeneration._from_config(row.config(words)).eval()


@pytest.mark.skipif(transformers.__version__ < "5.24", reason="release 5.24 brought it")
def test_llama_4_copies_a_field_that_is_not_there(llama4) -> None:
    """See harness/families/llama4.py: the output of the language model has no image_outputs."""
    with pytest.raises(AttributeError, match="image_outputs"):
        llama4(input_ids=torch.arange(20, 30)[None])


def test_llama_4_is_put_right(llama4) -> None:
    """In every release, and where the repair is applied twice; here without the torchvision that a
    whole checkpoint needs."""
    for _ in range(2):
        family_of("llama4").repair(llama4, None, None)
    assert llama4(input_ids=torch.arange(20, 30)[None]).logits.isfinite().all()
