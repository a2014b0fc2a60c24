"""BLIP-2: a Q-Former between a frozen vision encoder and OPT or T5."""

from __future__ import annotations

from harness.families.family import ModelFamily

FAMILY = ModelFamily(
    name="blip_2",
    title="BLIP-2",
    turn=lambda _images, text: f"Question: {text} Answer:",
    max_images=1,
    needs_image=True,
    untrainable="its Q-Former stands before language models of "
    "several kinds, which training does not know",
)
