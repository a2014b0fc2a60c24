"""A transformers model that is in memory, as someone else's: in a training loop, say.

It answers questions where it is and as it is, and nothing of it is changed afterwards: neither the
mode of any submodule nor its generation settings, hooks, buffers and configuration. LoRA layers
that peft put into it stay there and take part.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from harness.core.errors import HarnessError

_WRAPPED = ("_orig_mod", "module")
"""Attributes of torch's wrappers (compiled, data parallel) that hold the model itself."""


def network_of(model: object) -> PreTrainedModel:
    """The transformers model within what training wraps around it.

    Raises:
        HarnessError: there is none, or one that cannot answer outside its wrapper.
    """
    found = model
    while isinstance(found, nn.Module) and not isinstance(found, PreTrainedModel):
        if hasattr(found, "peft_config"):
            _refuse_virtual_tokens(found)
            found = cast("Any", found).get_base_model()
            continue
        inner = next((name for name in _WRAPPED if name in found._modules), None)  # noqa: SLF001
        if inner is None:
            break
        found = getattr(found, inner)
    if not isinstance(found, PreTrainedModel):
        raise HarnessError(
            f"model is a {type(model).__name__}, and no model of transformers.",
            remedy="Pass the name or folder of a model; or a loaded model of transformers and "
            "processor=, its processor.",
        )
    if any(parameter.is_meta for parameter in found.parameters()):
        raise HarnessError(
            f"The {type(found).__name__} has parameters without values, on the meta device."
        )
    return found


def _refuse_virtual_tokens(model: Any) -> None:
    """Refuse prompt tuning and its like, which are outside the network."""
    for name, config in model.peft_config.items():
        if getattr(config, "is_prompt_learning", False):
            raise HarnessError(
                f"The peft adapter {name!r} is a {config.peft_type}, which adds virtual tokens in "
                "front of the prompt.",
                remedy="Adapters within the network, such as LoRA, can be evaluated.",
            )


def dtype_of(network: PreTrainedModel) -> str:
    """The type of the weights, and that of an autocast around the call."""
    dtype = _name(network.dtype)
    kind = network.device.type
    if torch.is_autocast_enabled(kind):
        return f"{dtype}, autocast {_name(torch.get_autocast_dtype(kind))}"
    return dtype


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def fingerprint(network: PreTrainedModel) -> str:
    """sha256 over the name, type, shape and bytes of every parameter and buffer, and over the
    settings of LoRA layers."""
    digest = sha256()
    for name, tensor in sorted(_tensors(network).items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    for name, module in network.named_modules():
        if isinstance(getattr(module, "active_adapters", None), list):  # a method elsewhere
            digest.update(f"{name}\0{_adapter_settings(module)!r}\0".encode())
    return f"sha256:{digest.hexdigest()}"


def _tensors(network: PreTrainedModel) -> Mapping[str, torch.Tensor]:
    """Parameters and buffers, those that are not saved and those of quantized weights too."""
    saved = {name: value for name, value in network.state_dict().items() if torch.is_tensor(value)}
    return {**dict(network.named_buffers(remove_duplicate=False)), **saved}


def _adapter_settings(layer: Any) -> tuple[object, ...]:
    scaling = getattr(layer, "scaling", {})
    return (
        sorted(scaling.items()) if isinstance(scaling, dict) else None,
        list(layer.active_adapters),
        getattr(layer, "disable_adapters", None),
        list(getattr(layer, "merged_adapters", ())),
    )


@contextlib.contextmanager
def borrowed(network: PreTrainedModel) -> Iterator[None]:
    """Put the network into evaluation mode, and leave it and its configuration as they were."""
    kept = [_attributes(module) for module in network.modules()]
    kept += [_attributes(config) for config in _configurations(network)]
    try:
        network.eval()
        yield
    finally:
        for attributes, values, contents in kept:
            _restore(attributes, values, contents)


def _configurations(network: PreTrainedModel) -> list[object]:
    found = [getattr(module, "config", None) for module in network.modules()]
    return list({id(config): config for config in found if hasattr(config, "__dict__")}.values())


_Attributes = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]


def _attributes(owner: object) -> _Attributes:
    """The attributes of an object, their values now, and copies of the containers among them."""
    attributes = vars(owner)
    containers = {
        name: value.copy()
        for name, value in attributes.items()
        if type(value) in {dict, OrderedDict, set}
    }
    return attributes, attributes.copy(), containers


def _restore(
    attributes: dict[str, Any], values: Mapping[str, Any], contents: Mapping[str, Any]
) -> None:
    for name in attributes.keys() - values.keys():
        del attributes[name]
    attributes.update(values)
    for name, content in contents.items():
        attributes[name].clear()
        attributes[name].update(content)
