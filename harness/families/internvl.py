"""InternVL: tiles of InternViT, shuffled to a quarter of the tokens."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import TOWER

FAMILY = ModelFamily(
    name="internvl",
    title="InternVL",
    engine=ImageTokens(),
    training=TOWER,
)
