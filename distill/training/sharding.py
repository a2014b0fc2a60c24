"""A student whose parameters are spread over several processes (FSDP2), and put together again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def shard(
    module: nn.Module,
    layers: Iterable[nn.Module],
    *,
    apart: set[nn.Parameter],
    device: torch.device,
    processes: int,
    dtype: torch.dtype | None,
) -> None:
    """Spread the parameters over all processes, layer by layer: a layer's are together only while
    it computes.

    Args:
        apart: parameters that stay whole everywhere.
        dtype: half precision, in which parameters travel while gradients are summed in float32;
            None: everything is in float32.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    how: dict[str, Any] = {
        "mesh": init_device_mesh(device.type, (processes,)),
        "ignored_params": apart or None,
    }
    of_layers = MixedPrecisionPolicy(
        param_dtype=dtype,
        reduce_dtype=torch.float32 if dtype else None,
        cast_forward_inputs=False,  # between layers autocast keeps float32, as unsharded
    )
    for layer in layers:
        fully_shard(layer, mp_policy=of_layers, **how)
    fully_shard(module, **how)


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """All parameters whole in each process, where they are spread; all processes enter it, and
    within it none waits for another."""
    from torch.distributed.fsdp import FSDPModule

    spread = [each for each in module.modules() if isinstance(each, FSDPModule)]
    for each in spread:
        each.set_reshard_after_forward(False, recurse=False)
        each.unshard()
    try:
        yield
    finally:
        for each in spread:
            each.reshard()
            # What computes last is needed first in the backward pass: as fully_shard has it.
            each.set_reshard_after_forward(each is not module, recurse=False)
