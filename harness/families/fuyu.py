"""Fuyu: patches go into the language model as they are, before the question and its newline."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from harness.families.family import ModelFamily, encode_flat


def _repair_patches(processor: Any, config: Mapping[str, Any]) -> None:
    """The processor cuts tensors into patches by its image processor, whose PIL half can cut arrays
    alone."""
    del config
    import torch

    images = processor.image_processor
    cut_array = images.patchify_image
    patch = images.patch_size
    try:
        cut_array(image=torch.zeros(1, 3, patch["height"], patch["width"]))
    except TypeError:
        images.patchify_image = lambda image, patch_size=None: torch.from_numpy(
            cut_array(image=image.numpy(), patch_size=patch_size)
        )


FAMILY = ModelFamily(
    name="fuyu",
    title="Fuyu",
    turn=lambda _images, text: f"{text}\n",
    max_images=1,
    encode=partial(encode_flat, return_legacy_image_output=False),
    complete_processor=_repair_patches,
    untrainable="it has no vision encoder: patches of the picture "
    "go into its language model as they are",
)
