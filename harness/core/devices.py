"""Devices and number formats by name. torch is imported only where a device must be tried."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.core.errors import HarnessError

log = logging.getLogger(__name__)

DTYPES = ("float32", "bfloat16", "float16")
"""As torch names them."""
_CHOICES = "Choose auto, cpu, cuda or cuda:N; on a Mac, mps."
_SHORT = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerators:
    """What a machine has in addition to its CPU."""

    gpus: int = 0
    """Devices that torch calls cuda, of NVIDIA or AMD."""
    mps: bool = False
    """Whether there is the GPU of a Mac."""
    bfloat16: bool = True
    """Whether they compute in bfloat16 themselves; a T4 emulates it, slower than float32."""


def find_accelerators() -> Accelerators:
    """What this machine has."""
    if not _may_have_accelerators():
        return Accelerators()
    if sys.platform == "darwin":
        # Torch reads it as it is imported: what a Mac's GPU has no kernel for runs on its CPU, and
        # torch says so once for each operation.
        os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    import torch

    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return Accelerators(gpus=torch.cuda.device_count(), bfloat16=native)
    if torch.backends.mps.is_available():
        return Accelerators(mps=True, bfloat16=torch.backends.mps.is_macos_or_newer(14, 0))
    return Accelerators()


Find = Callable[[], Accelerators]


def resolve_device(device: str, find: Find = find_accelerators) -> str:
    """`auto` as the best device that is here; any other name checked.

    Args:
        find: what this machine has; called only where it must be known.

    Raises:
        HarnessError: torch knows no such device, or it is not in this machine (exit 2).
    """
    if device == "cpu":
        return device
    if device == "auto":
        found = find()
        return "cuda" if found.gpus else "mps" if found.mps else "cpu"
    _check_device(device, find)
    return device


def _check_device(device: str, find: Find) -> None:
    kind, _, index = device.partition(":")
    if kind in {"cuda", "mps"} and (index.isdigit() or not index):
        found = find()
        count = found.gpus if kind == "cuda" else int(found.mps)
        if int(index or 0) < count:
            return
        if count:
            names = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
            raise HarnessError(
                f"--device {device}: this machine has {names if kind == 'cuda' else 'mps'} only.",
                remedy=_CHOICES,
            )
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise HarnessError(
            f"--device {device}: {str(error).splitlines()[0]}",
            remedy=_CHOICES,
        ) from error


def _may_have_accelerators() -> bool:
    """False where the drivers of CUDA and ROCm, which Linux shows as files, are not loaded: then
    torch finds no device, and need not be asked."""
    if sys.platform != "linux":
        return True
    dev = Path("/dev")
    return any((dev / name).exists() for name in ("nvidiactl", "nvidia0", "kfd", "dxg", "nvmap"))


def resolve_dtype(dtype: str, device: str, find: Find = find_accelerators) -> str:
    """`auto` is float32 on a CPU, and bfloat16 on an accelerator that computes in it.

    On another accelerator it is float16, whose range is smaller: an answer with logits beyond it is
    an error of its sample, see `harness.engine.decode_step`.

    Args:
        find: what this machine has; called only where it must be known.
    """
    dtype = _SHORT.get(dtype, dtype)
    if dtype == "auto":
        if device.startswith("cpu"):
            return "float32"
        if find().bfloat16:
            return "bfloat16"
        _say_float16(device)
        return "float16"
    if dtype not in DTYPES:
        raise HarnessError(f"--dtype {dtype}: choose auto, {', '.join(DTYPES)}.")
    return dtype


@cache
def _say_float16(device: str) -> None:
    log.warning("%s does not compute in bfloat16: float16 is taken; --dtype chooses", device)


def keep_float32_exact() -> None:
    """Leave no operation in float32 to TF32, which has 10 bits of the 23: in torch the convolutions
    of cuDNN are, unasked."""
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def synchronize(device: str) -> None:
    """Return when an accelerator has done what was asked of it."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device.startswith("mps"):
        torch.mps.synchronize()


def release_memory(device: str) -> None:
    """Give what torch keeps for later back to an accelerator."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device.startswith("mps"):
        torch.mps.empty_cache()
