"""Mistral 3: Pixtral's encoder on pictures in their own shape, merged by patches."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import TOWER

FAMILY = ModelFamily(
    name="mistral3",
    title="Mistral 3",
    engine=ImageTokens(inputs=("pixel_values", "image_sizes")),
    training=TOWER,
)
