"""Which hidden states of the vision encoder a checkpoint of Mllama was trained with."""

from __future__ import annotations

from typing import Literal, cast

from harness.checkpoints.checkpoint import Checkpoint
from harness.core.errors import Exit, HarnessError

VisionState = Literal["before", "after"]
VISION_STATE = "intermediate_layers_state"
"""Key of `vision_config` in config.json: whether a picture's features are the hidden states before
or after the layers in `intermediate_layers_indices`."""


def trained_state(checkpoint: Checkpoint) -> VisionState:
    """Which state of the vision layers the weights were trained with.

    Published checkpoints do not say it, and were trained with the state before each layer. The
    minis that come with the package do not say it either, and were trained with the one after.

    Raises:
        HarnessError: config.json says neither of the two (exit 3).
    """
    vision = checkpoint.config.get("vision_config")
    stated = vision.get(VISION_STATE) if isinstance(vision, dict) else None
    if stated is None:
        return "after" if checkpoint.mini else "before"
    if stated not in {"before", "after"}:
        raise HarnessError(
            f"{checkpoint.folder / 'config.json'}: vision_config.{VISION_STATE} is {stated!r}.",
            remedy="Write 'before' or 'after', or leave the key out.",
            code=Exit.MISSING,
        )
    return cast("VisionState", stated)
