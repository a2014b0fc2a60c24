"""The first lesson in seeing: what is in each cell of a picture, asked of its encoder alone.

Published models begin from an encoder that was trained on pictures with their names (CLIP, SigLIP);
a mini's encoder begins here. A cell of a drawn picture is a patch of it, so the names are asked of
the patches, by a linear layer that is thrown away afterwards. Without it the language model had to
see through captions, and for the first 10,000 pictures learned nothing of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from harness.mini.scenes import GRID, Scene

CELLS = GRID * GRID


def names_of(scenes: Collection[Scene]) -> tuple[str, ...]:
    """Every shape and colour of the scenes, and their backdrops."""
    marks = {name for scene in scenes for mark in scene.marks for name in (mark.shape, mark.colour)}
    return tuple(sorted(marks | {scene.backdrop for scene in scenes}))


def named(scene: Scene, names: Sequence[str]) -> Tensor:
    """(cells, names): 1 where something of that name is in the cell."""
    places = {name: place for place, name in enumerate(names)}
    seen = torch.zeros(CELLS, len(names))
    seen[:, places[scene.backdrop]] = 1
    for mark in scene.marks:
        seen[mark.row * GRID + mark.column, [places[mark.shape], places[mark.colour]]] = 1
    return seen


def _moondream(network: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    found: Tensor = network.get_image_features(pixels["pixel_values"], pixels["image_grids"])
    return found


def _llava_next(network: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    found: Tensor = network.model.vision_tower(pixels["pixel_values"][:, 0]).last_hidden_state
    return found[:, 1:]


def _phi3v(network: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    clip = network.model.vision_embed_tokens.img_processor["vision_model"]
    found: Tensor = clip(pixels["pixel_values"][:, 0]).last_hidden_state
    return found[:, 1:]


def _mllama(network: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    found: Tensor = network.model.vision_model(**pixels).last_hidden_state
    return found[:, 0, 0, 1:]


def _kosmos2(network: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    found: Tensor = network.vision_model(pixels["pixel_values"]).last_hidden_state
    return found[:, 1:]


PATCHES: Mapping[str, Callable[[Any, Mapping[str, Tensor]], Tensor]] = MappingProxyType(
    {
        "moondream1": _moondream,
        "llava_next": _llava_next,
        "phi3_v": _phi3v,
        "mllama": _mllama,
        "kosmos-2": _kosmos2,
    }
)
"""model_type -> what its vision encoder makes of the whole picture's patches, (N, cells, D), row by
row and without the class token."""


class CellNames(nn.Module):
    """What is asked of the patches, (N, cells, D): the names in each, and which cell it is."""

    def __init__(self, width: int, names: int) -> None:
        super().__init__()
        self._names = nn.Linear(width, names)
        self._place = nn.Linear(width, CELLS)

    def forward(self, patches: Tensor, seen: Tensor) -> Tensor:
        """The loss, for what is `seen`, (N, cells, names)."""
        names = F.binary_cross_entropy_with_logits(self._names(patches), seen)
        places = torch.arange(CELLS).repeat(len(patches))
        return names * 10 + F.cross_entropy(self._place(patches).flatten(0, 1), places)
