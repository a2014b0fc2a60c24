"""Chameleon: pictures as tokens of a codebook, which stand after the question."""

from __future__ import annotations

from harness.families.family import ModelFamily

FAMILY = ModelFamily(
    name="chameleon",
    title="Chameleon",
    turn=lambda images, text: f"{text}{'<image>' * images}",
    placeholder=lambda _number: "<image>",
    untrainable="it has no vision encoder: pictures are tokens of its vocabulary",
)
