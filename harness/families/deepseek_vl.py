"""DeepSeek-VL: SigLIP and Llama."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily

FAMILY = ModelFamily(
    name="deepseek_vl",
    title="DeepSeek-VL",
    engine=ImageTokens(),
)
