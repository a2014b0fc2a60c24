"""The initial weights of the minis, with a spread that lets them learn copying."""

from __future__ import annotations

import torch
from torch import nn
from transformers.models.mllama.modeling_mllama import MllamaTextCrossAttention

WEIGHTS, EMBEDDINGS = 0.05, 0.5
"""Standard deviations. With the library's 0.02 everywhere, copying from the text forms later."""


def spread(model: nn.Module, *, common: bool = False) -> None:
    """Initialize all matrices from torch's random state, and open the gates that start closed.

    Args:
        common: all embeddings have something in common. Where queries and keys have no biases, as
            in Llama, nothing else lets a head look at a place whatever stands there; each word's
            embedding had to learn it for itself, and copying did not reach the rarer words.
    """
    embeddings = {
        id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)
    }
    # A head that shares the embedding's weights must not favour the last token: such models scale
    # the embedding themselves.
    shared = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            apart = id(parameter) in embeddings - shared
            mean = EMBEDDINGS if apart and common else 0.0
            nn.init.normal_(parameter, mean=mean, std=EMBEDDINGS if apart else WEIGHTS)
        elif "gate" in name:
            nn.init.ones_(parameter)
    for module in model.modules():
        if isinstance(module, MllamaTextCrossAttention):
            # A word begins by looking at what in the picture is like it, and takes that over.
            with torch.no_grad():
                module.k_proj.weight.copy_(module.q_proj.weight)
                module.o_proj.weight.copy_(module.v_proj.weight.T)
