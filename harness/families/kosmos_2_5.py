"""KOSMOS-2.5: reads pages of text. Its chat version answers questions about them."""

from __future__ import annotations

from harness.families.family import ModelFamily, encode_flat

FAMILY = ModelFamily(
    name="kosmos_2_5",
    title="KOSMOS-2.5",
    turn=lambda _images, text: (
        "<md>A chat between a curious user and an artificial intelligence assistant. The assistant "
        f"gives helpful, detailed, and polite answers to the user's questions. USER: {text} "
        "ASSISTANT:"
    ),
    max_images=1,
    needs_image=True,
    encode=encode_flat,
    counts_padding=True,
    untrainable="it transcribes pages, and is asked nothing",
)
