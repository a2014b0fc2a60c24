"""How many slots fit into memory, and what running out of it looks like."""

from __future__ import annotations

import os

import torch

CACHE_FRACTION = 0.8
"""The fraction of the free memory that slots may take; the rest is for what nobody has measured."""
MAX_SLOTS = {"cuda": 128, "cpu": 32}
"""Slots beyond which a request does not get cheaper, by device type."""


def slots_that_fit(device: torch.device, *, bytes_per_slot: int, reserved: int) -> int:
    """How many slots fit into the memory that is free, with other bytes reserved."""
    free = int(free_memory(device) * CACHE_FRACTION) - reserved
    limit = MAX_SLOTS.get(device.type, MAX_SLOTS["cuda"])
    return max(1, min(limit, free // max(bytes_per_slot, 1)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether fewer slots would have helped."""
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
