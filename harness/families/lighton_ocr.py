"""LightOnOCR: Pixtral's encoder and Qwen3, for pages of text."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import TrainingTraits

FAMILY = ModelFamily(
    name="lighton_ocr",
    title="LightOnOCR",
    engine=ImageTokens(inputs=("pixel_values", "image_sizes")),
    training=TrainingTraits(
        vision=("model.vision_encoder",), projector=("model.vision_projection",)
    ),
)
