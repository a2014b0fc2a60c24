"""Phi-3.5-vision, natively: it exists elsewhere only as remote code for an older library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import TrainingTraits


def _turn(images: int, text: str) -> str:
    """Numbered image placeholders, each on its line, inside one user turn."""
    numbered = "".join(f"<|image_{number}|>\n" for number in range(1, images + 1))
    return f"<|user|>\n{numbered}{text}<|end|>\n<|assistant|>\n"


def _register() -> None:
    from harness.families.phi3v.classes import register

    register()


def _cell_tokens(network: Any, pixels: Mapping[str, Any]) -> Any:
    """Of the single crop of a mini, and of the whole view: rows of cells with a separator each."""
    import torch

    found = network.get_image_features(pixels["pixel_values"], pixels["image_sizes"])
    tokens = torch.stack(list(found))  # (N, 2 * side * (side + 1) + 1, D): crop, end, whole view
    side = int((tokens.shape[1] / 2) ** 0.5)
    rows = side * (side + 1)
    views = torch.stack([tokens[:, :rows], tokens[:, rows + 1 :]], dim=1)
    return views.unflatten(2, (side, side + 1))[:, :, :, :side].flatten(2, 3)


def _build(folder: Path, **options: Any) -> None:
    from harness.families.phi3v import tiny

    tiny.build(folder, **options)


FAMILY = ModelFamily(
    name="phi3v",
    title="Phi-3.5-vision",
    turn=_turn,
    placeholder=lambda number: f"<|image_{number}|>",
    template_first=False,
    processor_arguments={},
    register=_register,
    engine=ImageTokens(inputs=("pixel_values", "image_sizes")),
    cell_tokens=_cell_tokens,
    builders={"phi-3.5": _build},
    training=TrainingTraits(
        vision=("model.vision_embed_tokens.img_processor",),
        projector=("model.vision_embed_tokens",),
        language="model",
    ),
)
