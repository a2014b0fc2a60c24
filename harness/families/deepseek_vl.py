"""DeepSeek-VL: SigLIP and Llama; the larger one has SAM besides, at a higher resolution."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily

FAMILY = ModelFamily(
    name="deepseek_vl",
    title="DeepSeek-VL",
    engine=ImageTokens(inputs=("pixel_values", "high_res_pixel_values")),
)
