"""FastVLM: a convolutional encoder of timm, a projector, Qwen 2."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily

FAMILY = ModelFamily(
    name="fast_vlm",
    title="FastVLM",
    engine=ImageTokens(),
)
