"""Pix2Struct: an encoder-decoder for pages and charts; the question begins its answer, or is drawn
above the picture where its processor does so."""

from __future__ import annotations

from harness.families.family import ModelFamily, encode_flat

FAMILY = ModelFamily(
    name="pix2struct",
    title="Pix2Struct",
    turn=lambda _images, text: text,
    max_images=1,
    needs_image=True,
    encode=encode_flat,
)
