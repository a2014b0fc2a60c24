"""The machine and the software that made a run, for its record."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.core.version import __version__

PACKAGES = (
    *("torch", "transformers", "tokenizers", "safetensors", "datasets", "pyarrow", "pillow"),
    *("numpy", "peft", "bitsandbytes", "sacrebleu", "rouge-score", "rapidfuzz", "bert-score"),
    "httpx2",
)


def describe(device: str | None) -> dict[str, Any]:
    """Versions, commit, machine; and the accelerator's name and driver where `device` is one."""
    return {
        "harness": __version__,
        **_commit(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        **(_device(device) if device else {}),
    }


@cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@cache
def _commit() -> dict[str, Any]:
    """The commit of the checkout that this package runs from; nothing for an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} threads" if names else platform.processor()


def _device(device: str) -> dict[str, Any]:
    if not device.startswith("cuda"):
        return {"device": device, "driver": None}
    import torch

    return {"device": torch.cuda.get_device_name(device), "driver": _driver()}


def _driver() -> str | None:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return None
