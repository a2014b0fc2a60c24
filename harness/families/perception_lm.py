"""PerceptionLM: tiles of Meta's Perception Encoder, pooled."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily

FAMILY = ModelFamily(
    name="perception_lm",
    title="PerceptionLM",
    engine=ImageTokens(pads=False),  # a tile of padding would be one more picture
)
