"""Idefics 1: cross-attention to pictures that stand among the texts, in turns of User and
Assistant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.families.family import ModelFamily

_IMAGE = "<image>"


def _encode(
    processor: Any, text: str, images: Sequence[Any], **arguments: Any
) -> Mapping[str, Any]:
    """Its processor takes texts and pictures in one list, in their order."""
    first, *texts = text.split(_IMAGE)
    parts = [first]
    for image, following in zip(images, texts, strict=True):
        parts += [image, following]
    inputs: Mapping[str, Any] = processor(text=[parts], return_tensors="pt", **arguments)
    return inputs


FAMILY = ModelFamily(
    name="idefics",
    title="Idefics",
    turn=lambda images, text: f"User:{_IMAGE * images}{text}\nAssistant:",
    placeholder=lambda _number: _IMAGE,
    encode=_encode,
    untrainable="training does not know the layers that attend to its pictures",
)
