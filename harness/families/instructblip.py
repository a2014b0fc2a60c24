"""InstructBLIP: BLIP-2 with a Q-Former that reads the question too, which is the prompt."""

from __future__ import annotations

from harness.families.family import ModelFamily

FAMILY = ModelFamily(
    name="instructblip",
    title="InstructBLIP",
    turn=lambda _images, text: text,
    max_images=1,
    needs_image=True,
    untrainable="its picture features depend on the question",
)
