"""Fuyu: patches go into the language model as they are, before the question and its newline."""

from __future__ import annotations

from harness.families.family import ModelFamily, encode_flat

FAMILY = ModelFamily(
    name="fuyu",
    title="Fuyu",
    turn=lambda _images, text: f"{text}\n",
    max_images=1,
    encode=encode_flat,
)
