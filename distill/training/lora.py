"""LoRA (Hu et al., 2021): adapters on the linear layers of the student, and what they add."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from distill.config import DistillConfig
from harness.core.errors import HarnessError


def add_adapters(
    model: nn.Module, names: Sequence[str], config: DistillConfig, *, rank: int
) -> None:
    """Put adapters on the linear layers `names`; only they are trained.

    Raises:
        HarnessError: there is no linear layer.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if not names:
        raise HarnessError(
            f"train {', '.join(config.train)}: there is no linear layer to adapt.",
            remedy="Train the layers or the projector, or train without LoRA.",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        inject_adapter_in_model(
            LoraConfig(
                r=rank,
                lora_alpha=config.lora_alpha,  # type: ignore[arg-type]  # a factor: any number does
                lora_dropout=config.lora_dropout,
                target_modules=list(names),
            ),
            model,
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".lora_" in name)


def adapter_deltas(model: nn.Module, learned: Mapping[str, Tensor]) -> Iterable[tuple[str, Tensor]]:
    """Name of each adapted layer, and what its adapter adds to the weight: its scale times BA.

    Args:
        learned: the trained parameters by name.
    """
    from peft.tuners.lora import LoraLayer

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            (adapter,) = module.active_adapters
            low, high = (learned[f"{name}.lora_{part}.{adapter}.weight"].float() for part in "AB")
            yield name, module.scaling[adapter] * (high @ low)
