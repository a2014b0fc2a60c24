"""Moondream 2, revisions 2024-05-20 to 2024-08-26, from transformers' own SigLIP and Phi: no remote
code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.moondream.revisions import refuse_other_revisions
from harness.families.training_traits import TrainingTraits


def _turn(images: int, text: str) -> str:
    """`<image>`, then Question and Answer, as in the model's own code and in the paper's."""
    pictures = "<image>\n\n" * images
    return f"{pictures}Question: {text}\n\nAnswer:"


def _tokens(processor: Any, text: str) -> list[int]:
    found: list[int] = processor._encode(text, bos=True)  # noqa: SLF001  # its one way without pixels
    return found


def _register() -> None:
    from harness.families.moondream.classes import register

    register()


def _cell_tokens(network: Any, pixels: Mapping[str, Any]) -> Any:
    return network.get_image_features(pixels["pixel_values"], pixels["image_grids"])[:, None]


def _build(folder: Path, **options: Any) -> None:
    from harness.families.moondream import tiny

    tiny.build(folder, **options)


FAMILY = ModelFamily(
    name="moondream",
    title="Moondream",
    turn=_turn,
    template_first=False,
    paper_wording=True,
    processor_arguments={},
    register=_register,
    check_folder=refuse_other_revisions,
    engine=ImageTokens(inputs=("pixel_values", "image_grids")),
    cell_tokens=_cell_tokens,
    builders={"moondream": _build},
    training=TrainingTraits(projector=("model.projector",), tokens=_tokens),
)
