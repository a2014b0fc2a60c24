"""VideoLLaMA 3: pictures in their own shape, and a language model with plain positions."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import TrainingTraits

FAMILY = ModelFamily(
    name="video_llama_3",
    title="VideoLLaMA 3",
    engine=ImageTokens(inputs=("pixel_values", "image_grid_thw", "image_merge_sizes")),
    training=TrainingTraits(vision=("model.vision_model",), projector=("model.projector",)),
)
