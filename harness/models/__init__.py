"""The model families: our own classes, registered with transformers on import, and what loads and
runs every family with one protocol. Importing this loads torch.

    import harness.models
    AutoModelForImageTextToText.from_pretrained(FOLDER)  # Moondream and Phi-3.5-vision, natively
"""

from __future__ import annotations

from harness.checkpoints import pretrained  # noqa: F401  # for its effect: transformers never asks to run code
from harness.models import moondream, phi3v
from harness.models.moondream import (
    MoondreamConfig,
    MoondreamForConditionalGeneration,
    MoondreamImageProcessor,
    MoondreamProcessor,
)
from harness.models.phi3v import (
    Phi3VConfig,
    Phi3VForCausalLM,
    Phi3VImageProcessor,
    Phi3VProcessor,
)

__all__ = [
    "MoondreamConfig",
    "MoondreamForConditionalGeneration",
    "MoondreamImageProcessor",
    "MoondreamProcessor",
    "Phi3VConfig",
    "Phi3VForCausalLM",
    "Phi3VImageProcessor",
    "Phi3VProcessor",
]

moondream.register()
phi3v.register()
