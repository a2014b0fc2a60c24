"""What a training needs before it starts: a base that can be trained, packages, a device."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from distill.config import DistillConfig
from harness.core.errors import Exit, HarnessError


def check_base(base: Path) -> None:
    """Refuse a student whose family cannot be distilled into, before anything takes long; raises
    HarnessError."""
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    import harness.models  # noqa: F401  # registers Moondream with the auto classes
    from harness.checkpoints import pretrained
    from harness.families import every_family, family_of

    students = [family for family in every_family() if family.distillable]
    titles = ", ".join(family.title for family in students)
    kind = ""
    try:
        kind = pretrained.load(AutoConfig, base).model_type
        family = family_of(kind)
        if family.distillable:
            pretrained.load(AutoProcessor, base)
            if family.check_folder:
                family.check_folder(base)
            pretrained.check_sizes(AutoModelForImageTextToText, base)
    except pretrained.UNUSABLE as error:
        raise pretrained.unusable(base, kind or titles, error) from error
    if family not in students:
        raise HarnessError(
            f"{base} is a {kind}; only {titles} can be distilled into.", code=Exit.MISSING
        )


def check_packages(config: DistillConfig, device: str) -> None:
    """Refuse settings whose package or device is not here; raises HarnessError."""
    if config.lora_rank is not None and not find_spec("peft"):
        raise HarnessError("LoRA needs the package peft.", remedy="pip install peft")
    if config.optimizer == "adam8bit":
        if not find_spec("bitsandbytes"):
            raise HarnessError(
                "8-bit Adam needs the package bitsandbytes, and an NVIDIA GPU.",
                remedy="pip install bitsandbytes, or choose the optimizer adam, with more memory.",
            )
        if not device.startswith("cuda"):
            raise HarnessError(
                f"8-bit Adam needs an NVIDIA GPU; this run is on {device}.",
                remedy="Choose the optimizer adam.",
            )
