"""LLaVA 1.5: CLIP, a projector, Llama; one picture is a fixed number of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import TOWER


def fill_processor(processor: Any, config: Mapping[str, Any]) -> None:
    """Older LLaVA folders leave these empty, and the library then counts image tokens wrongly."""
    if getattr(processor, "patch_size", 0) is None:
        processor.patch_size = config["vision_config"]["patch_size"]
        processor.vision_feature_select_strategy = config.get(
            "vision_feature_select_strategy", "default"
        )
        processor.num_additional_image_tokens = 1  # CLIP's class token


def build(folder: Path, *, seed: int = 0) -> None:
    """Write a tiny checkpoint with random weights."""
    import transformers

    from harness.families.tiny import decoder

    tokenizer = decoder.llama_tokenizer("<image>")
    config = transformers.LlavaConfig(
        vision_config={**decoder.CLIP, "image_size": 32},
        text_config={**decoder.ids(tokenizer), **decoder.TEXT, "model_type": "llama"},
        image_token_index=decoder.token_id(tokenizer, "<image>"),
        vision_feature_layer=-2,
    )
    processor = transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=decoder.LLAVA_TEMPLATE,
    )
    decoder.save(folder, transformers.LlavaForConditionalGeneration, config, processor, seed=seed)


FAMILY = ModelFamily(
    name="llava",
    title="LLaVA",
    complete_processor=fill_processor,
    # Pixtral is published as this type, with pictures in their own shape.
    engine=ImageTokens(inputs=("pixel_values", "image_sizes")),
    builders={"llava": build},
    training=TOWER,
)
