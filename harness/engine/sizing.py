"""How much fits into memory, and what running out of it looks like."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch

from harness.engine.rows import Row

SHARE = 0.8
"""Of the memory that is free, what rows may take; the rest is for what nobody has thought of."""
MOST = {"cuda": 128, "cpu": 32}
"""Rows at once that still make each of them cheaper."""


def fitting(device: torch.device, *, each: int, besides: int) -> int:
    """How many rows of `each` bytes fit into the memory that is free, beside other bytes."""
    free = int(free_memory(device) * SHARE) - besides
    return max(1, min(MOST.get(device.type, MOST["cuda"]), free // max(each, 1)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether fewer rows at once would have helped."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in words or "can't allocate memory" in words or "not enough memory" in words
    )


def free_memory(device: torch.device) -> int:
    """Bytes that can be taken on a device without anything being swapped or refused."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def peak_memory(device: torch.device) -> int:
    """The most bytes that torch has held on a device; 0 on a CPU, where it does not count."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def release(device: torch.device) -> None:
    """Give what torch keeps for later back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


class Seen:
    """What was seen in pictures: those asked about last are kept, up to so many bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._features: OrderedDict[str, torch.Tensor] = OrderedDict()
        self.hits = 0
        """How often a picture did not need to be looked at again."""

    def of(
        self, rows: Sequence[Row], look: Callable[[Sequence[Row]], list[torch.Tensor]]
    ) -> list[torch.Tensor | None]:
        """What is in each row's pictures; `look` is asked about those that are new."""
        found = {row.pictures: self._get(row.pictures) for row in rows if row.pictures}
        new = {row.pictures: row for row in rows if found.get(row.pictures, row) is None}
        for digest, features in zip(new, look(list(new.values())), strict=True):
            found[digest] = features
            self._put(digest, features)
        return [found.get(row.pictures) for row in rows]

    def _get(self, digest: str) -> torch.Tensor | None:
        found = self._features.get(digest)
        if found is not None:
            self.hits += 1
            self._features.move_to_end(digest)
        return found

    def _put(self, digest: str, features: torch.Tensor) -> None:
        if digest in self._features:
            return
        size = features.numel() * features.element_size()
        if size > self._limit:
            return
        self._features[digest] = features
        self._held += size
        while self._held > self._limit:
            _, oldest = self._features.popitem(last=False)
            self._held -= oldest.numel() * oldest.element_size()

    def clear(self) -> None:
        self._features.clear()
        self._held = 0
