"""Aria: a mixture of experts, with a resampler that gives a picture a fixed number of tokens."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import TOWER

FAMILY = ModelFamily(
    name="aria",
    title="Aria",
    engine=ImageTokens(inputs=("pixel_values", "pixel_mask")),
    training=TOWER,
)
