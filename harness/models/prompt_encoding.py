"""From a prompt to the inputs that a model's processor makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from PIL.Image import Image

from harness.engine.encoded_prompts import EncodedPrompt
from harness.families.family import ModelFamily


def encode_text(
    processor: Any, family: ModelFamily, text: str, images: Sequence[Image]
) -> EncodedPrompt:
    """The inputs of a prompt that is worded already.

    Args:
        text: as its prompt format makes it.
    """
    bos = processor.tokenizer.bos_token
    arguments: dict[str, Any] = {}
    if bos and text.startswith(bos):
        arguments["add_special_tokens"] = False  # the template has put it there already
    inputs = family.encode(processor, text, images, **arguments)
    return EncodedPrompt(text, dict(inputs), _digest(images))


def _digest(images: Sequence[Image]) -> str:
    """A hash of the decoded images; empty where there are none."""
    digest = sha256()
    for image in images:
        digest.update(f"{image.mode} {image.size}".encode())
        digest.update(image.tobytes())
    return digest.hexdigest() if images else ""
