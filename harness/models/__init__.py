"""What loads and runs the checkpoints of every model family with one protocol. The project's own
classes are registered with transformers on import. Importing this loads torch.

    import harness.models
    AutoModelForImageTextToText.from_pretrained(FOLDER)  # Moondream and Phi-3.5-vision, natively
"""

from __future__ import annotations

from harness.checkpoints import pretrained  # noqa: F401  # for its effect: transformers never asks to run code
from harness.families import every_family
from harness.families.moondream.classes import (
    MoondreamConfig,
    MoondreamForConditionalGeneration,
    MoondreamImageProcessor,
    MoondreamProcessor,
)
from harness.families.phi3v.classes import (
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

for _family in every_family():
    if _family.register:
        _family.register()
