"""Qwen3-VL: Qwen-VL's positions, and features of three depths of the vision encoder, which go into
the first layers of the language model (deepstack)."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.qwen_vl import positions
from harness.families.training_traits import MERGER


def _encode(network: Any, **inputs: Any) -> Any:
    """The features of all depths side by side, (tokens, depths * D)."""
    import torch

    found = network.get_image_features(**inputs)
    depths = [found.pooler_output, *found.deepstack_features]
    return torch.cat([torch.cat(list(each)) for each in depths], dim=-1)


def _language_model(network: Any) -> Callable[..., Any]:
    """The text model and its head; the network itself takes features from its own encoder alone."""

    def run(*, position_ids: Any, logits_to_keep: int = 0, **arguments: Any) -> Any:
        if position_ids.ndim == 2:
            position_ids = position_ids[None].expand(3, -1, -1)
        output = network.model.language_model(position_ids=position_ids, **arguments)
        return SimpleNamespace(
            logits=network.lm_head(output.last_hidden_state[:, -logits_to_keep:])
        )

    return run


FAMILY = ModelFamily(
    name="qwen3_vl",
    title="Qwen3-VL",
    engine=ImageTokens(
        inputs=("pixel_values", "image_grid_thw"),
        encode=_encode,
        language_model=_language_model,
        positions=positions,
    ),
    training=MERGER,
)
