"""Idefics 2: pictures in their own shape, resampled to a fixed number of tokens."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import CONNECTOR

FAMILY = ModelFamily(
    name="idefics2",
    title="Idefics 2",
    engine=ImageTokens(inputs=("pixel_values", "pixel_attention_mask")),
    training=CONNECTOR,
)
