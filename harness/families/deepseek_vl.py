"""DeepSeek-VL: SigLIP and Llama; the larger one has SAM besides, at a higher resolution."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import TrainingTraits

FAMILY = ModelFamily(
    name="deepseek_vl",
    title="DeepSeek-VL",
    engine=ImageTokens(inputs=("pixel_values", "high_res_pixel_values")),
    training=TrainingTraits(
        vision=("model.vision_model", "model.high_res_vision_model"),
        projector=("model.aligner", "model.high_res_vision_neck", "model.high_res_vision_proj"),
    ),
)
