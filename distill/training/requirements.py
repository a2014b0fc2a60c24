"""What a training needs before it starts: a base that can be trained, packages, a device."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from distill.config import DistillConfig
from harness.core.errors import Exit, HarnessError


def check_base(base: Path) -> None:
    """Refuse a student whose family cannot be distilled into, before anything takes long; raises
    HarnessError."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    import harness.models  # noqa: F401  # registers the project's own classes
    from harness.checkpoints import pretrained
    from harness.checkpoints.picture_processor import load_processor
    from harness.families import every_family, family_of, generic

    kind = ""
    try:
        kind = pretrained.load(AutoConfig, base).model_type
        family = family_of(kind)
        if family.training:
            load_processor(base, **family.processor_arguments)
            if family.check_folder:
                family.check_folder(base)
            pretrained.check_sizes(AutoModelForImageTextToText, base)
    except pretrained.UNUSABLE as error:
        raise pretrained.unusable(base, kind or "a student", error) from error
    if not family.training:
        students = [each.title for each in every_family() if each.training]
        name = kind if family is generic.FAMILY else family.title
        raise HarnessError(
            f"{base} is a {name}, which cannot be trained as a student: {family.untrainable}.",
            known=f"Students can be {', '.join(students)}.",
            code=Exit.MISSING,
        )


def check_packages(config: DistillConfig, device: str) -> None:
    """Refuse settings whose package or device is not here; raises HarnessError."""
    if config.lora_rank is not None and not find_spec("peft"):
        raise HarnessError("LoRA needs the package peft.", remedy="pip install peft")
    if config.quantize is not None:
        _check_quantization(device)
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


def _check_quantization(device: str) -> None:
    """Refuse QLoRA where it cannot run; raises HarnessError."""
    if not find_spec("bitsandbytes"):
        raise HarnessError(
            "QLoRA needs the package bitsandbytes, and an NVIDIA GPU.",
            remedy="pip install bitsandbytes, or leave out --quantize, with more memory.",
            code=Exit.MISSING,
        )
    if not device.startswith("cuda"):
        raise HarnessError(
            f"QLoRA needs an NVIDIA GPU; this run is on {device}.",
            remedy="Leave out --quantize.",
            code=Exit.MISSING,
        )
