"""LLaVA-NeXT-Video: LLaVA-NeXT that was trained on videos too; its pictures are tiled alike."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.llava import fill_processor
from harness.families.training_traits import TILED_TOWER

FAMILY = ModelFamily(
    name="llava_next_video",
    title="LLaVA-NeXT-Video",
    complete_processor=fill_processor,
    engine=ImageTokens(inputs=("pixel_values", "image_sizes")),
    training=TILED_TOWER,
)
