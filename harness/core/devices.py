"""Devices and number formats by name. torch is imported only where a device must be tried."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.core.errors import HarnessError

DTYPES = ("float32", "bfloat16", "float16")
"""As torch names them."""
_SHORT = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def resolve_device(device: str) -> str:
    """`auto` as the best device that is here; any other name checked.

    Raises:
        HarnessError: torch knows no such device, or it is not in this machine (exit 2).
    """
    if device == "cpu" or (device == "auto" and not _may_have_cuda()):
        return "cpu"
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise HarnessError(
            f"--device {device}: {str(error).splitlines()[0]}",
            remedy="Choose auto, cpu, cuda or cuda:N.",
        ) from error
    return device


def _may_have_cuda() -> bool:
    """False where the drivers of CUDA and ROCm, which Linux shows as files, are not loaded: then
    torch finds no device, and need not be asked."""
    if sys.platform != "linux":
        return True
    dev = Path("/dev")
    return any((dev / name).exists() for name in ("nvidiactl", "nvidia0", "kfd", "dxg", "nvmap"))


def resolve_dtype(dtype: str, device: str) -> str:
    """`auto` is bfloat16 on an accelerator and float32 on a CPU."""
    dtype = _SHORT.get(dtype, dtype)
    if dtype == "auto":
        return "float32" if device.startswith("cpu") else "bfloat16"
    if dtype not in DTYPES:
        raise HarnessError(f"--dtype {dtype}: choose auto, {', '.join(DTYPES)}.")
    return dtype
