"""Janus: an encoder for understanding pictures apart from that for drawing them."""

from __future__ import annotations

from types import MethodType
from typing import Any

from harness.checkpoints.checkpoint import Checkpoint
from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import TrainingTraits


def _repair(network: Any, processor: Any, checkpoint: Checkpoint) -> None:
    """Its own `generate`, which is for drawing too, leaves out the logits processors of texts; the
    library's general one has them."""
    del processor, checkpoint
    from transformers import GenerationMixin

    network.generate = MethodType(GenerationMixin.generate, network)


FAMILY = ModelFamily(
    name="janus",
    title="Janus",
    repair=_repair,
    engine=ImageTokens(),
    training=TrainingTraits(vision=("model.vision_model",), projector=("model.aligner",)),
)
