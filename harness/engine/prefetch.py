"""Prepare prompts ahead of the model, in worker processes, a few items for each of them.

Torch's DataLoader does the work: it keeps the order, bounds what is ready and not yet taken, and
notices a process that dies. The processes are forked, so that whatever an item is read with (an
open table, a user's own task) need not be sent to them; they touch no accelerator.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from harness.core.errors import Exit, HarnessError
from harness.core.worker_pool import available_cores

T = TypeVar("T")
P = TypeVar("P")

PREFETCH_FACTOR = 2
"""Items that each worker may be ahead."""
MAX_DEFAULT_WORKERS = 8
"""Workers that are started unasked: more would be faster than any model."""
WORTH_A_WORKER = 16
"""Samples that make up for starting a process."""


def default_workers(device: str) -> int:
    """How many workers prepare where `--workers` is not given.

    On a CPU none: the model takes all cores, and preparing is a hundredth of the work.
    """
    if device.startswith("cpu") or not can_fork():
        return 0
    return max(0, min(MAX_DEFAULT_WORKERS, available_cores() - 1))


def workers_for(device: str, samples: int) -> int:
    """The same, and no more than pay for so many samples."""
    return min(default_workers(device), samples // WORTH_A_WORKER)


def can_fork() -> bool:
    """Whether workers can be forked; on a Mac a fork of a process with threads is unsafe."""
    return "fork" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"


def ahead(make: Callable[[T], P], items: Iterable[T], *, workers: int) -> Iterator[P]:
    """`make` of each item, in order.

    Args:
        make: what the workers do; raises nothing that is about a single item.
        items: sent to the workers one by one, so they must be plain; taken as workers are free.
        workers: processes, 1 or more.

    Raises:
        HarnessError: a worker died, or `make` raised it.
    """
    if not can_fork():
        raise HarnessError("--workers needs processes that can fork.", remedy="--workers 0")
    import torch
    from torch.utils.data import DataLoader

    loader: DataLoader[Any] = DataLoader(
        _LazyItems(make),  # type: ignore[arg-type]  # whatever gives an item for what the sampler gives
        sampler=items,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=PREFETCH_FACTOR,
        collate_fn=_identity,
        multiprocessing_context="fork",
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # the global state is not drawn from
    )
    try:
        for made in loader:
            if isinstance(made, HarnessError):
                raise made
            yield made
    except RuntimeError as error:
        if "worker" not in str(error):
            raise
        raise HarnessError(
            "A process that prepares questions has died.",
            known=str(error).split("\n")[0][:300],
            remedy="Out of memory, or of /dev/shm, is likely: --workers 0 needs neither. What was "
            "answered is kept.",
            code=Exit.UNEXPECTED,
        ) from error


class _LazyItems(Generic[T, P]):
    """DataLoader's data set: an item is made when it is requested."""

    def __init__(self, make: Callable[[T], P]) -> None:
        self._make = make

    def __getitem__(self, item: T) -> P | HarnessError:
        """What was made of the item; or the error, as DataLoader keeps of one its text alone."""
        try:
            return self._make(item)
        except HarnessError as error:
            return error


def _identity(item: P) -> P:
    return item


def _start_worker(_number: int) -> None:
    """Leave signals to the main process: it gets them too, and ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
