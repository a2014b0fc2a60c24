"""BLIP: the caption that the model writes begins with the question."""

from __future__ import annotations

from harness.families.family import ModelFamily

FAMILY = ModelFamily(
    name="blip",
    title="BLIP",
    turn=lambda _images, text: text,
    max_images=1,
    needs_image=True,
)
