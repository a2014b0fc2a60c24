"""The scale of the loss in float16, whose smallest gradients would be 0 without it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

INITIAL = 2.0**16
GROWS_AFTER = 2000
"""Steps without an overflow after which the scale is doubled."""


class LossScale:
    """A power of two by which the loss is multiplied, and gradients are divided.

    An overflow halves it and the step is computed again, so that every step is taken.
    """

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._value = INITIAL if enabled else 1.0
        self._steps = 0  # taken with this scale

    @property
    def value(self) -> float:
        """1 where the loss is not scaled."""
        return self._value

    def unscale(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Divide the gradients of `parameters`, in place."""
        if self._value != 1:
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(1 / self._value)

    def shrink(self) -> bool:
        """Halve the scale after an overflow; False where that cannot help."""
        if self._value <= 1:
            return False
        self._value /= 2
        self._steps = 0
        return True

    def step_taken(self) -> None:
        """Double the scale if it has been without an overflow for long."""
        self._steps += 1
        if self._enabled and self._steps == GROWS_AFTER:
            self._value *= 2
            self._steps = 0

    def state(self) -> dict[str, float] | None:
        """What `restore` takes; None where the loss is not scaled."""
        return {"value": self._value, "steps": self._steps} if self._enabled else None

    def restore(self, state: Mapping[str, float] | None) -> None:
        if self._enabled and state is not None:
            self._value, self._steps = float(state["value"]), int(state["steps"])
