"""Types of models that need a package which the plain install has not: the error names it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import transformers as t

from harness.checkpoints.pretrained import unusable
from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import Exit, HarnessError
from harness.models.loading import LoadOptions, load
from tests.families.checkpoint import CHAT, Words, vision

TOKENS = {"image_token": "<image>", "video_token": "<video>"}
TYPES = {
    "lfm2_vl": lambda w: t.Lfm2VlConfig(
        vision_config=vision("siglip2_vision_model", num_patches=16),
        text_config=w.text("lfm2", layer_types=["conv", "full_attention"]),
        image_token_id=w["<image>"],
    ),
    "cohere2_vision": lambda w: t.Cohere2VisionConfig(
        vision_config=vision("siglip_vision_model"),
        text_config=w.text("cohere2"),
        image_token_id=w["<image>"],
    ),
    "llama4": lambda w: t.Llama4Config(
        vision_config=vision(vision_output_dim=32, projector_input_dim=32, projector_output_dim=32),
        text_config=w.text(head_dim=16, intermediate_size_mlp=64, num_local_experts=2),
    ),
}
CLASSES = {
    "lfm2_vl": "Lfm2Vl",
    "cohere2_vision": "Cohere2Vision",
    "llama4": "Llama4",
}


@pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed"
)
@pytest.mark.parametrize("kind", TYPES)
def test_an_image_processor_without_a_pil_half(kind: str, tmp_path: Path) -> None:
    """It needs torchvision, which the error names with the command; not a complete download."""
    words = Words(TOKENS, (), bos=True)
    name = CLASSES[kind]
    architecture = getattr(t, f"{name}ForConditionalGeneration")
    architecture._from_config(TYPES[kind](words)).save_pretrained(tmp_path)
    words.tokenizer.save_pretrained(tmp_path)
    named = {"processor_class": f"{name}Processor"}
    image = {**named, "image_processor_type": f"{name}ImageProcessorFast"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(image))
    (tmp_path / "processor_config.json").write_text(json.dumps(named))
    (tmp_path / "chat_template.jinja").write_text(CHAT)
    with pytest.raises(HarnessError) as raised:
        load(find_checkpoint(str(tmp_path)), LoadOptions(device="cpu", dtype="float32"))
    assert raised.value.code == Exit.MISSING
    assert f"{kind} needs the package torchvision" in str(raised.value)
    assert "pip install 'harness-vlm[vlm]'" in str(raised.value)
    assert "download" not in str(raised.value)


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is installed")
def test_an_encoder_of_another_package(tmp_path: Path) -> None:
    """FastVLM's encoder is one of timm's."""
    with pytest.raises(ImportError) as raised:
        t.FastVlmForConditionalGeneration._from_config(t.FastVlmConfig())
    error = unusable(tmp_path, "fast_vlm", raised.value)
    assert "fast_vlm needs the package timm" in str(error)
    assert "pip install 'harness-vlm[vlm]'" in str(error)


def test_a_package_that_is_in_no_extra(tmp_path: Path) -> None:
    """It is installed by its own name."""
    error = unusable(tmp_path, "x", ModuleNotFoundError("No module named 'a.b'", name="a.b"))
    assert "pip install a" in str(error)
    assert "harness-vlm" not in str(error)
    assert "download is complete" in str(unusable(tmp_path, "x", ValueError("odd")))
