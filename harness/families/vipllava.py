"""VipLLaVA: LLaVA with features of several layers of CLIP."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.llava import fill_processor
from harness.families.training_traits import TOWER

FAMILY = ModelFamily(
    name="vipllava",
    title="VipLLaVA",
    complete_processor=fill_processor,
    engine=ImageTokens(),
    training=TOWER,
)
