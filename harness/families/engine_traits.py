"""What the decoding engine needs to know of a model family. Readable without torch.

The runners of `harness.models.model_runners` do the work: one for images that stand in the
sequence, one for images that cross-attention attends to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


def _library_features(model: Any, **inputs: Any) -> Any:
    """What the library's own method makes of pictures; some classes have it in their inner model
    alone."""
    owner = model if hasattr(model, "get_image_features") else model.model
    return owner.get_image_features(**inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTokens:
    """Image features take the places of image tokens in the sequence."""

    inputs: tuple[str, ...] = ("pixel_values",)
    """The inputs of the vision encoder."""
    encode: Callable[..., Any] = _library_features
    """(model, its inputs) -> features. What is wider than the embeddings goes into later layers of
    the language model (deepstack)."""
    language_model: Callable[[Any], Any] = lambda model: model
    """The part that takes embeddings and gives logits."""
    pads: bool = True
    """Pixels of several shapes can be padded to one; False: prompts are encoded together only where
    their pixels have one shape."""
    mask: str = ""
    """The input that marks where images stand; empty: they have a token of their own."""
    first_position: Callable[[Any], int] = lambda _model: 0
    positions: Callable[[Any, Mapping[str, Any]], Any] | None = None
    """(network, inputs of a prompt with images) -> the positions of its tokens in three dimensions,
    (3, T); None: they are numbered one after the other."""
    expands_mask: bool = False
    """It expands a mask of two dimensions itself, whatever its kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossAttention:
    """Images are keys of cross-attention layers."""

    inputs: tuple[str, ...]
    """The inputs of the vision encoder, the pixels first."""
    encode: Callable[..., Any]
    """(model, its inputs) -> what the layers attend to, (B, tiles, patches, D)."""
    used_tiles: Callable[[Mapping[str, Any]], Sequence[int]]
    """(inputs of a prompt) -> how many of each image's tiles are not empty; they come first."""
    layers: Callable[[Any], tuple[int, ...]]
    """The numbers of the layers."""
    tiles: Callable[[Any], int]
    """Tiles that each image has, padding included."""
