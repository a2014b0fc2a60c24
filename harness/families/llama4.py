"""Llama 4: tiles of a picture among the tokens of a mixture of experts."""

from __future__ import annotations

from typing import Any

from harness.checkpoints.checkpoint import Checkpoint
from harness.families.family import ModelFamily


def _repair(network: Any, processor: Any, checkpoint: Checkpoint) -> None:
    """The class copies a field of the language model's output that the output does not have."""
    del processor, checkpoint

    def complete(_module: object, _inputs: object, output: Any) -> None:
        if not hasattr(output, "image_outputs"):
            output.image_outputs = None

    network.language_model.register_forward_hook(complete)


FAMILY = ModelFamily(
    name="llama4",
    title="Llama 4",
    repair=_repair,
    untrainable="training does not know its mixture of experts",
)
