"""Copy inputs to the device: through pinned memory, on a stream of its own, cast where they arrive.

Pinned memory is torch's to keep: what a copy has left is taken again by the next one, and neither
waits for the device. A prompt's own tensors may lie anywhere; they are put together in the pinned
memory, and not in other memory before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from harness.engine.encoded_prompts import concatenate_padded, padded_shape


class Staging:
    """What brings tensors to one device; on a CPU they only are put together and cast."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = None

    def __call__(
        self, parts: Sequence[torch.Tensor], dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """The parts, one after the other along the first dimension and padded with zeros in the
        others, on the device.

        Args:
            dtype: what floating point numbers become; None: they stay as they are.
        """
        if not parts[0].is_floating_point():
            dtype = None
        if self._device.type != "cuda":
            return concatenate_padded(parts).to(self._device, dtype)
        pinned = torch.empty(padded_shape(parts), dtype=parts[0].dtype, pin_memory=True)
        if len({part.shape[1:] for part in parts}) > 1:
            pinned.zero_()
        first = 0
        for part in parts:
            place = (slice(first, first + len(part)), *(slice(0, size) for size in part.shape[1:]))
            pinned[place] = part
            first += len(part)
        return self._copied(pinned, dtype)

    def _copied(self, pinned: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
        if self._stream is None:
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        current: Any = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            made = pinned.to(self._device, non_blocking=True)
            if dtype is not None:
                made = made.to(dtype)
        current.wait_stream(self._stream)
        made.record_stream(current)  # its memory is the copying stream's
        return made
