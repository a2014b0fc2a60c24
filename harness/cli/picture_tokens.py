"""What a model gets of a picture: its image tokens, and the tensors of its vision encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.core.abilities import BoundedModel
from harness.core.errors import SampleError
from harness.core.types import Model, Prompt


@dataclass(frozen=True, slots=True)
class PictureInput:
    """What a prompt's pictures became."""

    tokens: int | None = None
    """Image tokens in the prompt; None: nobody counts them."""
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """The inputs of the vision encoder and their shapes."""

    def __str__(self) -> str:
        """As people read it: "2,880 image tokens, 5 tiles of 336 x 336"."""
        noun = "image token" if self.tokens == 1 else "image tokens"
        counted = "" if self.tokens is None else f"{self.tokens:,} {noun}"
        return ", ".join(filter(None, [counted, *map(_in_words, self.inputs.values())]))


def _in_words(shape: tuple[int, ...]) -> str:
    """The shape of pixels: (..., tiles, channels, height, width) or (..., patches, values)."""
    if len(shape) < 4:  # no channels: flattened patches
        patches = 1
        for size in shape[:-1]:
            patches *= size
        return f"{patches:,} {'patch' if patches == 1 else 'patches'}"
    *before, _, height, width = shape
    tiles = 1
    for size in before:
        tiles *= size
    return f"{tiles} {'tile' if tiles == 1 else 'tiles'} of {width} x {height}"


def picture_input(model: Model, prompt: Prompt, prepared: Any) -> PictureInput | None:
    """What the pictures of a prompt became, from what `model.prepare` made of it alone; None where
    it has none, or the model keeps that to itself."""
    inputs: Mapping[str, Any] | None = getattr(prepared, "inputs", None)
    if not prompt.images or inputs is None:
        return None
    shapes = {name: tuple(v.shape) for name, v in inputs.items() if name.startswith("pixel_values")}
    tokens = picture_tokens(model, prompt) if isinstance(model, BoundedModel) else None
    return PictureInput(tokens, shapes)


def picture_tokens(model: BoundedModel, pictured: Prompt) -> int | None:
    """The tokens that its pictures add to a prompt; of a model that takes none without, the image
    tokens of the prompt."""
    try:
        return model.count(pictured) - model.count(replace(pictured, images=()))
    except SampleError:
        return _image_tokens(model, pictured)


def _image_tokens(model: Any, prompt: Prompt) -> int | None:
    """The tokens of a prompt that stand for its pictures; None: its model names no such token."""
    config = model.network.config
    names = ("image_token_id", "image_token_index")
    token = next((number for name in names if (number := getattr(config, name, None))), None)
    (encoded,) = model.prepare([prompt])
    return None if token is None else int((encoded.inputs["input_ids"] == token).sum())
