"""Mllama (Llama 3.2 Vision, LLaVA-CoT): which hidden states of the vision encoder are features.

The picture's features are the last hidden state of the vision encoder and the states of the layers
in `intermediate_layers_indices`. The published weights were trained with the state *before* each of
these layers (Meta's own code, transformers up to 4.46); later releases of transformers collect the
state *after* it. `trained_state` says which one a checkpoint was trained with; this module makes
the loaded model collect that one, whatever the installed release does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import __version__

from harness.core.errors import Exit, HarnessError
from harness.families.mllama.trained_state import VISION_STATE, VisionState


def collect(model: Any, state: VisionState) -> None:
    """Make `model` collect `state` of each layer, and note that in its config, so that
    `save_pretrained` keeps it."""
    vision = model.model.vision_model
    found = collected(type(vision), type(vision.config))
    if found != state:
        shift = _state_before if state == "before" else _state_after
        vision.transformer.register_forward_hook(shift, with_kwargs=True)
    setattr(vision.config, VISION_STATE, state)


def is_collecting(model: Any) -> bool:
    """Whether `collect` has been called on this model."""
    hooks = model.model.vision_model.transformer._forward_hooks  # noqa: SLF001  # no public name
    return any(hook in {_state_before, _state_after} for hook in hooks.values())


def collected(architecture: Any, configuration: Any) -> VisionState:
    """Which state the installed release collects.

    Raises:
        HarnessError: neither of the two.
    """
    layers = _layers_before(architecture, configuration, index=1)
    known: dict[float, VisionState] = {1.0: "before", 2.0: "after"}
    if layers not in known:
        raise HarnessError(
            f"transformers {__version__} collects Mllama's vision features in a way that is not "
            "known here.",
            known=f"The feature of the layer with index 1 is the state after {layers:g} layers.",
            remedy="pip install 'transformers==5.23.0'",
            code=Exit.MISSING,
        )
    return known[layers]


def _layers_before(architecture: Any, configuration: Any, *, index: int) -> float:
    """How many layers the feature of the layer `index` has gone through.

    In a small model of the same class every layer adds one to a hidden state of zeros.
    """
    config = configuration(
        hidden_size=4,
        attention_heads=1,
        intermediate_size=4,
        num_hidden_layers=index + 2,
        num_global_layers=1,
        image_size=8,
        patch_size=4,
        intermediate_layers_indices=[index],
        vision_output_dim=8,
    )
    tiles = config.max_num_tiles
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.no_grad():
        vision = architecture(config).float().eval()
        for parameter in vision.parameters():
            parameter.zero_()
        for layer in vision.transformer.layers:
            layer.mlp.fc2.bias.fill_(1.0)
        features = vision(
            pixel_values=torch.zeros(1, 1, tiles, 3, 8, 8),
            aspect_ratio_ids=torch.ones(1, 1, dtype=torch.long),
            aspect_ratio_mask=torch.ones(1, 1, tiles, dtype=torch.long),
        ).last_hidden_state  # (1, 1, tiles, patches, 8); its first half is the last hidden state
    return float(features[..., -1].max())


def _state_before(_encoder: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
    """The encoder's input in front of its states: index i is the state before layer i."""
    first = args[0] if args else kwargs["hidden_states"]
    output.hidden_states = (first, *output.hidden_states)
    return output


def _state_after(_encoder: nn.Module, _args: Any, _kwargs: Any, output: Any) -> Any:
    """The states without the first one: index i is the state after layer i."""
    output.hidden_states = (*output.hidden_states[1:], output.last_hidden_state)
    return output
