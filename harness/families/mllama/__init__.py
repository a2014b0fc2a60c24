"""Llama 3.2 Vision, which LLaVA-CoT is: images are keys of cross-attention, one placeholder each.

The picture's features hold hidden states of the vision encoder from before or after some of its
layers. `trained_state` says which ones the weights were trained with, `vision_state` makes the
library collect them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from harness.checkpoints.checkpoint import Checkpoint
from harness.families.engine_traits import CrossAttention
from harness.families.family import ModelFamily, Template
from harness.families.mllama.trained_state import VISION_STATE, trained_state
from harness.families.training_traits import TrainingTraits

_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|image|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
"""The published template's wording for one user turn with its image first."""


def _template(config: Mapping[str, Any], vocabulary: Collection[str]) -> Template:
    del config, vocabulary
    return _TEMPLATE, None


def _conventions(checkpoint: Checkpoint) -> Mapping[str, str | None]:
    before = trained_state(checkpoint) == "before"
    return {"vision_features": "state before layer" if before else None}


def _describe(network: Any) -> Mapping[str, str]:
    state = getattr(getattr(network.config, "vision_config", None), VISION_STATE, None)
    return {"vision_features": f"state {state} layer"} if state else {}


def _repair(network: Any, processor: Any, checkpoint: Checkpoint) -> None:
    del processor
    from harness.families.mllama import vision_state

    if not vision_state.is_collecting(network):
        vision_state.collect(network, trained_state(checkpoint))


def _encode(model: Any, **inputs: Any) -> Any:
    inner = model.model
    return inner.multi_modal_projector(inner.vision_model(**inputs).last_hidden_state)


def _cell_tokens(network: Any, pixels: Mapping[str, Any]) -> Any:
    return _encode(network, **pixels)[:, 0, :, 1:]


def _build(folder: Path, **options: Any) -> None:
    from harness.families.mllama import tiny

    tiny.build(folder, **options)


FAMILY = ModelFamily(
    name="mllama",
    title="Llama 3.2 Vision",
    template=_template,
    repair=_repair,
    conventions=_conventions,
    describe=_describe,
    engine=CrossAttention(
        inputs=("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask"),
        encode=_encode,
        used_tiles=lambda inputs: inputs["aspect_ratio_mask"][0].sum(dim=-1).tolist(),
        layers=lambda config: tuple(config.get_text_config().cross_attention_layers),
        tiles=lambda config: int(config.vision_config.max_num_tiles),
    ),
    cell_tokens=_cell_tokens,
    builders={"llava-cot": _build},
    training=TrainingTraits(vision=("model.vision_model",)),
)
