"""PaddleOCR-VL: pages in their own shape, with positions in three dimensions."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.qwen_vl import positions
from harness.families.training_traits import TrainingTraits

FAMILY = ModelFamily(
    name="paddleocr_vl",
    title="PaddleOCR-VL",
    engine=ImageTokens(inputs=("pixel_values", "image_grid_thw"), positions=positions),
    training=TrainingTraits(vision=("model.visual",), projector=("model.projector",)),
)
