"""A pool of worker processes for pure Python and numpy."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait


def worker_pool(workers: int, begin: Callable[[], None] | None = None) -> ProcessPoolExecutor:
    """A pool whose processes end with this one.

    Forked where the platform forks safely: such workers need no importable main module. They may
    touch pure Python and numpy only, never the parent's torch.

    Args:
        workers: processes.
        begin: what each of them calls first; forked ones need not be able to import it.
    """
    method = "fork" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(method)
    return ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(begin,))


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin(begin: Callable[[], None] | None) -> None:
    end_with_parent()
    if begin:
        begin()


def end_with_parent() -> None:
    """Let a worker die with the process that started it, however that one ends: a forked worker
    would otherwise hold its locks and memory for ever. An interrupt is that one's business; a
    termination, by which a broken pool ends its workers, is not to wait for a handler of that one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None  # this runs in workers only
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
