"""Qwen2-VL and Qwen2.5-VL: pictures in their own shape, whose patches have positions in time,
height and width (multimodal RoPE)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import MERGER


def positions(network: Any, inputs: Mapping[str, Any]) -> Any:
    """As the library numbers the tokens of a prompt."""
    found, _ = network.model.get_rope_index(
        inputs["input_ids"],
        mm_token_type_ids=inputs["mm_token_type_ids"],
        image_grid_thw=inputs["image_grid_thw"],
    )
    return found[:, 0]


FAMILY = ModelFamily(
    name="qwen_vl",
    title="Qwen-VL",
    engine=ImageTokens(inputs=("pixel_values", "image_grid_thw"), positions=positions),
    training=MERGER,
)
