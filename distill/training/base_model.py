"""The base of a student in memory, ready to be trained: its weights, its processor, and what of the
library's classes is put right for its family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForImageTextToText

from distill.config import DistillConfig
from distill.training.network import Network
from harness.checkpoints import pretrained
from harness.checkpoints.checkpoint import Checkpoint
from harness.core.errors import HarnessError
from harness.families import family_of
from harness.families.family import ModelFamily
from harness.models.loading import LoadOptions, network_of, processor_of

_DROPOUTS = ("dropout", "attention_dropout", "activation_dropout", "layerdrop", "drop_prob")
"""What the library's modules call the probabilities that are no module of their own."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base in memory."""

    network: Network
    processor: Any
    family: ModelFamily

    @property
    def model(self) -> Any:
        return self.network.model


def load_base(
    checkpoint: Checkpoint, config: DistillConfig, *, dtype: torch.dtype, device: str
) -> BaseModel:
    """Load a checkpoint onto `device`, in training mode.

    Dropout is off: the loss is then that of a plain forward pass, and a batch has the same one
    however it is divided. LoRA has a dropout of its own.

    Raises:
        HarnessError: the folder cannot be used, or a setting is not for this family.
    """
    family = family_of(checkpoint.model_type)
    model: Any = network_of(checkpoint, load_options(family, config, dtype=dtype, device=device))
    processor = processor_of(checkpoint, {})
    if family.repair:
        family.repair(model, processor, checkpoint)
    network = Network(model, family)
    _switch_dropout_off(model)
    _fuse_gelu(network)
    if config.packing and not network.packs:
        raise HarnessError(
            f"--packing: {family.title} cannot keep the examples of one sequence apart.",
            remedy="Leave it out; --set bucket=8 puts examples of one length together.",
        )
    if config.gradient_checkpointing:
        _recompute_activations(model, family)
    model.train()
    _hold_still(network, config)
    return BaseModel(network, processor, family)


def load_options(
    family: ModelFamily, config: DistillConfig, *, dtype: torch.dtype, device: str
) -> LoadOptions:
    """How a base is put on its device. With QLoRA only its language model is in 4 bits: pictures
    are encoded, and logits computed, as without."""
    assert family.training is not None
    whole = (*family.training.vision, *family.training.projector, family.training.head)
    return LoadOptions(
        device=device,
        dtype=str(dtype).removeprefix("torch."),
        quantize=config.quantize,
        unquantized=whole if config.quantize else (),
    )


def load_unchanged(checkpoint: Checkpoint) -> Any:
    """The checkpoint's model on the CPU, in its own type."""
    return pretrained.load_model(AutoModelForImageTextToText, checkpoint.folder, dtype="auto")


def _switch_dropout_off(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in _DROPOUTS:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def _fuse_gelu(network: Network) -> None:
    """The same function in one kernel, and without its seven intermediate results."""
    if getattr(network.model.config.get_text_config(), "hidden_act", None) == "gelu_new":
        for layer in network.language.layers:
            layer.mlp.activation_fn = nn.GELU(approximate="tanh")


def _recompute_activations(model: Any, family: ModelFamily) -> None:
    try:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    except ValueError as error:
        raise HarnessError(
            f"gradient_checkpointing: transformers has none for {family.title}.",
            remedy="--set gradient_checkpointing=false, and more --accumulation",
        ) from error


def _hold_still(network: Network, config: DistillConfig) -> None:
    """Keep what training mode would change although it is frozen: running means, above all."""
    for part in ("vision", "projector"):
        for module in network.modules_of(part):
            if part not in config.train or isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
                module.eval()
