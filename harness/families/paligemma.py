"""PaliGemma 1 and 2: SigLIP and Gemma. The prompt is the question; the processor puts image tokens
and <bos> before it, and a newline after it."""

from __future__ import annotations

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import TrainingTraits

FAMILY = ModelFamily(
    name="paligemma",
    title="PaliGemma",
    turn=lambda images, text: f"{'<image>' * images}{text}",
    needs_image=True,
    training=TrainingTraits(
        images=ImageTokens(first_position=lambda _model: 1), sees_whole_prompt=True
    ),
)
