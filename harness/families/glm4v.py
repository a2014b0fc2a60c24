"""GLM-4.1V and GLM-4.5V: pictures in their own shape, with positions in three dimensions."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.qwen_vl import positions
from harness.families.training_traits import MERGER

FAMILY = ModelFamily(
    name="glm4v",
    title="GLM-V",
    engine=ImageTokens(inputs=("pixel_values", "image_grid_thw"), positions=positions),
    training=MERGER,
)
