"""LLaVA-OneVision: LLaVA-NeXT's tiles, pooled where they are many."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import TILED_TOWER

FAMILY = ModelFamily(
    name="llava_onevision",
    title="LLaVA-OneVision",
    engine=ImageTokens(inputs=("pixel_values", "image_sizes", "batch_num_images")),
    training=TILED_TOWER,
)
