"""A language model that can copy and look up, put into another mini.

Mllama's, Mistral's and Phi-3's decoders are of one kind: what differs is how they name and join
their tensors, Mllama's cross-attention, and the order of their vocabularies.
"""

# torch and transformers are typed in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import Any

import torch
from torch import nn


@torch.no_grad()
def transplant(donor: Any, target: Any) -> None:
    """Give `target`, a loaded LLaVA-NeXT or Phi-3.5-vision, the language model of `donor`, a loaded
    Mllama. Tokens that the donor lacks keep what they have."""
    giver, taker = donor.network, target.network
    theirs, ours = donor.tokenizer.get_vocab(), target.tokenizer.get_vocab()
    shared = [(ours[token], theirs[token]) for token in ours if token in theirs]
    to, of = (torch.tensor(side) for side in zip(*shared, strict=True))
    for name in ("get_input_embeddings", "get_output_embeddings"):
        old, new = getattr(giver, name)().weight, getattr(taker, name)().weight
        known = of < len(old)  # Mllama's head has no row for the image
        new[to[known]] = old[of[known]]
    decoder = giver.model.language_model
    own = taker.model.language_model if hasattr(taker.model, "language_model") else taker.model
    layers = [layer for layer in decoder.layers if hasattr(layer, "self_attn")]
    for layer, into in zip(layers, own.layers, strict=True):
        _layer(layer, into)
    own.norm.weight.copy_(decoder.norm.weight)


def _layer(layer: Any, into: Any) -> None:
    for name in ("input_layernorm", "post_attention_layernorm"):
        getattr(into, name).weight.copy_(getattr(layer, name).weight)
    attention, mlp = layer.self_attn, layer.mlp
    into.self_attn.o_proj.weight.copy_(attention.o_proj.weight)
    into.mlp.down_proj.weight.copy_(mlp.down_proj.weight)
    queries = (attention.q_proj, attention.k_proj, attention.v_proj)
    gates = (mlp.gate_proj, mlp.up_proj)
    if hasattr(into.self_attn, "qkv_proj"):
        into.self_attn.qkv_proj.weight.copy_(_joined(queries))
        into.mlp.gate_up_proj.weight.copy_(_joined(gates))
    else:
        for name, module in zip(("q_proj", "k_proj", "v_proj"), queries, strict=True):
            getattr(into.self_attn, name).weight.copy_(module.weight)
        into.mlp.gate_proj.weight.copy_(mlp.gate_proj.weight)
        into.mlp.up_proj.weight.copy_(mlp.up_proj.weight)


def _joined(modules: tuple[nn.Linear, ...]) -> torch.Tensor:
    return torch.cat([module.weight for module in modules])
