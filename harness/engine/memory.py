"""What is free on a device, what a pass takes of it, and what running out of it looks like."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from harness.core.devices import release_memory
from harness.core.errors import HarnessError

log = logging.getLogger(__name__)
T = TypeVar("T")


def attempt(run: Callable[[], T]) -> tuple[T | Any, Exception | None]:
    """What `run` returns, or the error that it raises.

    The error comes without its traceback and its context: they hold the frames that it went
    through, and these the tensors of the pass that failed, which a retry has no room next to.
    """
    try:
        return run(), None
    except HarnessError:
        raise  # it is not about this pass
    except Exception as error:  # what it is about is for the caller to say
        log.debug("A pass failed", exc_info=True)
        found: BaseException | None = error
        while found is not None:
            traceback.clear_frames(found.__traceback__)
            found.__traceback__ = None
            before, found.__context__ = found.__context__, None
            found = found.__cause__ or before
        return None, error


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
    if device.type == "mps":
        torch.mps.empty_cache()
        held: int = torch.mps.driver_allocated_memory()
        return max(0, torch.mps.recommended_max_memory() - held)
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def spent(device: torch.device, run: Callable[[], T]) -> tuple[T, int]:
    """What `run` returns, and the most bytes that it held on the device beyond those that were held
    before; 0 on a CPU, where torch does not count them.

    The peak is measured anew, so that no earlier pass hides this one.
    """
    if device.type != "cuda":
        return run(), 0
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    made = run()
    return made, max(0, torch.cuda.max_memory_allocated(device) - before)


def release(device: torch.device) -> None:
    """Give what torch keeps for later back to the device."""
    release_memory(str(device))
