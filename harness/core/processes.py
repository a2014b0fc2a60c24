"""Which of several processes this one is, as torchrun and `accelerate launch` set it.

They set it in the environment. Nothing here communicates with the other processes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from harness.core.errors import HarnessError


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One process among those that were launched together."""

    rank: int = 0
    """0 to processes - 1, over all machines."""
    processes: int = 1
    local_rank: int = 0
    """The rank on this machine, which selects one of its devices."""
    launched: bool = False
    """Whether a launcher started this process; it may be the only one."""

    @property
    def first(self) -> bool:
        """Whether this is the process that reports for all."""
        return self.rank == 0


def here() -> Place:
    """The current process; raises HarnessError if the environment contradicts itself."""
    if "WORLD_SIZE" not in os.environ:
        return Place()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    try:
        rank, processes = (int(os.environ[name]) for name in names[:2])
        local = int(os.environ.get(names[2], rank))
    except (KeyError, ValueError) as error:
        raise _unclear() from error
    if not (0 <= rank < processes and local >= 0):
        raise _unclear()
    return Place(rank=rank, processes=processes, local_rank=local, launched=True)


def own_device(device: str) -> str:
    """The one of the devices that `device` means which belongs to this process.

    Raises:
        HarnessError: it names a single one, and there are several processes.
    """
    place = here()
    if place.processes == 1:
        return device
    kind, colon, _ = device.partition(":")
    if colon:
        raise HarnessError(
            f"--device {device}: with several processes each takes a device of its own.",
            remedy=f"--device {kind}",
        )
    return f"{kind}:{place.local_rank}" if kind == "cuda" else device


def require_own_gpu(gpus: int) -> None:
    """Refuse more processes on this machine than it has GPUs.

    Args:
        gpus: of this machine.

    Raises:
        HarnessError: there is none for this process.
    """
    place = here()
    if place.processes > 1 and place.local_rank >= gpus:
        have = f"there is {gpus}" if gpus == 1 else f"there are {gpus}"
        raise HarnessError(
            f"Process {place.local_rank + 1} on this machine has no GPU of its own: {have}.",
            remedy=f"Launch {gpus} with --nproc-per-node {gpus}." if gpus else "--device cpu",
        )


def _unclear() -> HarnessError:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    found = ", ".join(f"{name}={os.environ.get(name, '(absent)')[:20]}" for name in names)
    return HarnessError(
        "The environment does not define which of several processes this is.",
        known=f"It has {found}.",
        remedy="torchrun and accelerate launch set all three; unset WORLD_SIZE for one process.",
    )
