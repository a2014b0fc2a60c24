"""LoRA (Hu et al., 2021): adapters on linear layers of the student, in place of full training.

An adapter of rank r adds (alpha / r) B A x to what its layer makes of x, with A (r, in) and B
(out, r). It is kept by itself, in peft's own layout, and merged into the weights of the student.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.config import DistillConfig
from distill.training.network import part_of
from harness.core.errors import HarnessError
from harness.families.training_traits import TrainingTraits

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
"""Of the tensors' names in peft's files."""


def adapted_layers(model: nn.Module, config: DistillConfig, traits: TrainingTraits) -> list[str]:
    """Names of the linear layers that get an adapter: those that are asked for, else those of
    attention and MLP in the parts to train. The head is adapted only where it is named.

    Raises:
        HarnessError: there is no linear layer, or none of the name that is asked for.
    """
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and part_of(name, traits) in config.train
    }
    if config.lora_targets is None:
        layers.pop(traits.head, None)
    if not layers:
        raise HarnessError(
            f"train {', '.join(config.train)}: there is no linear layer to adapt.",
            remedy="Train the layers or the projector, or train without LoRA.",
        )
    kinds = {name.rpartition(".")[2] for name in layers}
    for target in config.lora_targets or ():
        if target not in kinds:
            raise HarnessError(
                f"--lora-targets {target}: no linear layer of {', '.join(config.train)} is called "
                "that.",
                known=f"There are {', '.join(sorted(kinds))}.",
            )
    head = layers.get(traits.head)
    named = traits.head.rpartition(".")[2] in (config.lora_targets or ())
    if head is not None and named and head.weight is _embeddings(model):
        raise HarnessError(
            f"--lora-targets {traits.head}: it is the table of embeddings, which a merged adapter "
            "would change.",
            remedy="Leave it out.",
        )
    wanted = kinds if config.lora_targets is None else set(config.lora_targets)
    return [name for name in layers if name.rpartition(".")[2] in wanted]


def _embeddings(model: nn.Module) -> object:
    found: Any = model
    return found.get_input_embeddings().weight


def names_within_adapters(model: nn.Module, names: Sequence[str]) -> list[str]:
    """The names of these parameters once their layers are adapted."""
    there = {name for name, _ in model.named_parameters()}
    inner = {name: ".base_layer.".join(name.rsplit(".", 1)) for name in names}
    return [name if name in there else inner[name] for name in names]


def add_adapters(
    model: nn.Module, names: Sequence[str], config: DistillConfig, *, rank: int
) -> None:
    """Put adapters on the linear layers `names`; only they are trained."""
    from peft import LoraConfig, inject_adapter_in_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        inject_adapter_in_model(LoraConfig(**_settings(names, config, rank=rank)), model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".lora_" in name)


def _settings(names: Sequence[str], config: DistillConfig, *, rank: int) -> dict[str, Any]:
    """The fields of peft's LoraConfig."""
    return {
        "r": rank,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "target_modules": list(names),
    }


def adapter_deltas(model: nn.Module, learned: Mapping[str, Tensor]) -> Iterable[tuple[str, Tensor]]:
    """Name of each adapted layer, and what its adapter adds to the weight: its scale times BA.

    Args:
        learned: the trained parameters by name.
    """
    for name, adapter, module in _adapted(model):
        low, high = (learned[f"{name}.lora_{part}.{adapter}.weight"].float() for part in "AB")
        yield name, module.scaling[adapter] * (high @ low)


def save_adapter(
    folder: Path, model: nn.Module, learned: Mapping[str, Tensor], config: DistillConfig, base: str
) -> None:
    """Write the adapters into `folder` as peft does: its configuration, and A and B of each layer.

    Args:
        learned: the trained parameters by name.
        base: the checkpoint that they are of.
    """
    from peft import LoraConfig
    from safetensors.torch import save_file

    tensors, names = {}, []
    for name, adapter, _ in _adapted(model):
        names.append(name)
        for part in "AB":
            found = learned[f"{name}.lora_{part}.{adapter}.weight"]
            tensors[f"{_PREFIX}{name}.lora_{part}.weight"] = found.contiguous()
    assert config.lora_rank is not None
    settings = _settings(names, config, rank=config.lora_rank)
    made: Any = LoraConfig(**settings, base_model_name_or_path=base, inference_mode=True)
    # peft has a set of names, whose order differs from run to run.
    fields = {**made.to_dict(), "target_modules": names}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
    (folder / _CONFIG).write_text(
        json.dumps(fields, indent=1, default=str) + "\n", encoding="utf-8"
    )


def _adapted(model: nn.Module) -> Iterable[tuple[str, str, Any]]:
    """(name, name of its adapter, module) of each layer with one."""
    from peft.tuners.lora import LoraLayer

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            (adapter,) = module.active_adapters
            yield name, adapter, module
