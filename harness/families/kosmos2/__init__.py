"""KOSMOS-2 (Peng et al., 2023): one picture, which the processor puts in front of the text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.checkpoints.checkpoint import Checkpoint
from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import TrainingTraits


def _turn(images: int, text: str) -> str:
    """Question and Answer; the processor prepends the image tokens, and `<grounding>` is left out:
    boxes are not asked for."""
    del images
    return f"Question: {text} Answer:"


def _repair(network: Any, processor: Any, checkpoint: Checkpoint) -> None:
    del checkpoint
    from harness.families.kosmos2.generation import repair

    repair(network, processor)


def _encode(model: Any, pixel_values: Any) -> Any:
    from harness.families.kosmos2.generation import encode_images

    return encode_images(model, pixel_values)


def _cell_tokens(network: Any, pixels: Mapping[str, Any]) -> Any:
    """The latent queries have no position of their own; each is given a cell's."""
    return _encode(network, pixels["pixel_values"])[:, None]


def _build(folder: Path, **options: Any) -> None:
    from harness.families.kosmos2 import tiny

    tiny.build(folder, **options)


FAMILY = ModelFamily(
    name="kosmos2",
    title="KOSMOS-2",
    turn=_turn,
    template_first=False,
    max_images=1,
    repair=_repair,
    engine=ImageTokens(
        encode=_encode,
        language_model=lambda model: model.text_model,
        mask="image_embeds_position_mask",
        # The first position is the one after the padding token's id.
        first_position=lambda model: model.config.text_config.pad_token_id + 1,
        expands_mask=True,
    ),
    cell_tokens=_cell_tokens,
    builders={"kosmos-2": _build},
    training=TrainingTraits(
        vision=("vision_model",),
        projector=("image_to_text_projection",),
        language="text_model.model",
        head="text_model.lm_head",
    ),
)
