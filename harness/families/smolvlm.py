"""SmolVLM: Idefics 3's tiles and pixel shuffle, with smaller parts."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import CONNECTOR

FAMILY = ModelFamily(
    name="smolvlm",
    title="SmolVLM",
    engine=ImageTokens(inputs=("pixel_values", "pixel_attention_mask")),
    training=CONNECTOR,
)
