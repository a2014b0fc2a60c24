"""Published tensor names to transformers' and back. The only place that knows the former.

transformers applies these rules in `from_pretrained` and their reverse in `save_pretrained`, so
what is saved has the published names and shapes again.
"""

from __future__ import annotations

import re
from math import isqrt
from typing import Any

import torch
from transformers.core_model_loading import (
    Chunk,
    Concatenate,
    ConversionOps,
    WeightConverter,
    WeightRenaming,
)

_VISUAL = "vision_encoder.encoder.model.visual"
_TOWER = "model.vision_tower"

# (published, transformers'); * is a layer's number.
_NAMES = (
    (f"{_VISUAL}.patch_embed.linear.", f"{_TOWER}.embeddings.patch_embedding."),
    (f"{_VISUAL}.pos_embed", f"{_TOWER}.embeddings.position_embedding.weight"),
    (f"{_VISUAL}.blocks.*.norm1.", f"{_TOWER}.encoder.layers.*.layer_norm1."),
    (f"{_VISUAL}.blocks.*.norm2.", f"{_TOWER}.encoder.layers.*.layer_norm2."),
    (f"{_VISUAL}.blocks.*.attn.qkv.", f"{_TOWER}.encoder.layers.*.self_attn.qkv."),
    (f"{_VISUAL}.blocks.*.attn.proj.", f"{_TOWER}.encoder.layers.*.self_attn.out_proj."),
    (f"{_VISUAL}.blocks.*.mlp.", f"{_TOWER}.encoder.layers.*.mlp."),
    (f"{_VISUAL}.norm.", f"{_TOWER}.post_layernorm."),
    ("vision_encoder.projection.mlp.", "model.projector."),
    ("text_model.transformer.embd.wte.", "model.language_model.embed_tokens."),
    ("text_model.transformer.h.*.ln.", "model.language_model.layers.*.input_layernorm."),
    ("text_model.transformer.h.*.mixer.Wqkv.", "model.language_model.layers.*.self_attn.qkv."),
    (
        "text_model.transformer.h.*.mixer.out_proj.",
        "model.language_model.layers.*.self_attn.dense.",
    ),
    ("text_model.transformer.h.*.mlp.", "model.language_model.layers.*.mlp."),
    ("text_model.lm_head.ln.", "model.language_model.final_layernorm."),
    ("text_model.lm_head.linear.", "lm_head."),
)


class _Reshape(ConversionOps):
    """One tensor in another shape; `saving` tells the two directions apart."""

    def __init__(self, *, saving: bool = False) -> None:
        self.saving = saving

    def convert(  # type: ignore[override]  # its callers give every argument by name
        self, input_dict: dict[str, Any], *, full_layer_name: str, **_: Any
    ) -> dict[str, Any]:
        found = next(iter(input_dict.values()))
        tensor = found[0] if isinstance(found, list) else found
        return {full_layer_name: self.pack(tensor) if self.saving else self.unpack(tensor)}

    @property
    def reverse_op(self) -> ConversionOps:
        return type(self)(saving=not self.saving)

    def unpack(self, tensor: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class _PatchKernel(_Reshape):
    """A linear layer over flattened patches, channel first, is a convolution's kernel."""

    def unpack(self, tensor: torch.Tensor) -> torch.Tensor:
        side = isqrt(tensor[0].numel() // 3)
        return tensor.reshape(tensor.shape[0], 3, side, -1)  # (D, 3 p p) -> (D, 3, p, p)

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.flatten(1)


class _PositionTable(_Reshape):
    """Position embeddings with a batch dimension are an embedding table."""

    def unpack(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.squeeze(0)  # (1, T, D) -> (T, D)

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.unsqueeze(0)


class _Split(Chunk):
    """A fused projection into query, key and value."""

    @property
    def reverse_op(self) -> ConversionOps:
        return _Fuse(self.dim)


class _Fuse(Concatenate):
    """Query, key and value into one projection, under the name that renaming has left it."""

    def convert(  # type: ignore[override]  # its callers give every argument by name
        self, input_dict: dict[str, Any], *, full_layer_name: str, **kwargs: Any
    ) -> dict[str, Any]:
        (fused,) = super().convert(input_dict, **kwargs).values()  # type: ignore[type-var]
        # Under the pattern's name, transformers 5.17 would not find the way to the full one.
        return {full_layer_name: fused}

    @property
    def reverse_op(self) -> ConversionOps:
        return _Split(self.dim)


def _renaming(published: str, ours: str) -> WeightRenaming:
    pattern = re.escape(published).replace(r"\*", r"(\d+)")
    return WeightRenaming(f"^{pattern}", ours.replace("*", r"\1"))


# Renamings come first, so each converter sees one name for vision and text.
WEIGHT_CONVERSIONS: tuple[WeightConverter | WeightRenaming, ...] = (
    *(_renaming(published, ours) for published, ours in _NAMES),
    WeightConverter(
        "self_attn.qkv.",
        ["self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."],
        operations=[_Split(dim=0)],
    ),
    WeightConverter(
        "embeddings.patch_embedding.weight",
        "embeddings.patch_embedding.weight",
        operations=[_PatchKernel()],
    ),
    WeightConverter(
        "embeddings.position_embedding.weight",
        "embeddings.position_embedding.weight",
        operations=[_PositionTable()],
    ),
)
