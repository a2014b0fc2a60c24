"""PaliGemma 1 and 2: SigLIP and Gemma. The prompt is the question; the processor puts image tokens
and <bos> before it, and a newline after it."""

from __future__ import annotations

from harness.families.family import ModelFamily

FAMILY = ModelFamily(
    name="paligemma",
    title="PaliGemma",
    turn=lambda images, text: f"{'<image>' * images}{text}",
    needs_image=True,
)
