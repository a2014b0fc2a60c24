"""GIT: a causal language model after the tokens of CLIP; the question begins its caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.families.family import ModelFamily, encode_flat


def _encode(
    processor: Any, text: str, images: Sequence[Any], **arguments: Any
) -> Mapping[str, Any]:
    """[CLS] and the question, without the [SEP] that would end the answer before it begins."""
    start = processor.tokenizer.cls_token or ""
    return encode_flat(
        processor, f"{start}{text}", images, **{**arguments, "add_special_tokens": False}
    )


FAMILY = ModelFamily(
    name="git",
    title="GIT",
    turn=lambda _images, text: text,
    max_images=1,
    encode=_encode,
    untrainable="picture and words are read by one transformer",
)
