"""Processes that work on the demo's stages next to each other, each with its share of the cores.

The minis are so small that a second thread hardly makes one of them faster; a second process works
on another one. The processes begin as forks of one that has imported torch and the model classes,
where the platform forks safely.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from harness.core.errors import Exit, HarnessError
from harness.core.interrupts import Interrupted, interrupts
from harness.core.worker_pool import available_cores, end_with_parent

P = ParamSpec("P")
T = TypeVar("T")

MAX_LANES = 2
"""Each takes up to a gigabyte."""
_PRELOADED = (
    "torch",
    "accelerate",
    "distill.pipeline",
    "harness.models.loading",
    "transformers.generation.utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.processing_auto",
    "transformers.models.mllama.modeling_mllama",
    "transformers.models.llava_next.modeling_llava_next",
    "transformers.models.mistral.modeling_mistral",
    "transformers.models.phi.modeling_phi",
    "transformers.models.siglip.modeling_siglip",
)


def lanes_here() -> int:
    """How many lanes this machine has the cores for."""
    return min(MAX_LANES, available_cores())


class _ThisProcess(Executor):
    """A single lane: what is submitted is done at once."""

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        done: Future[T] = Future()
        done.set_result(work(*args, **kwargs))
        return done


@contextlib.contextmanager
def open_lanes(count: int) -> Iterator[Executor]:
    """An executor with `count` lanes; one lane is this very process. At an error or an interrupt
    the work under way is interrupted too, and leaves what can be resumed.

    Raises:
        HarnessError: one of the processes was killed.
    """
    if count == 1:
        yield _ThisProcess()
        return
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        multiprocessing.set_forkserver_preload(list(_PRELOADED))
    before = set(multiprocessing.active_children())
    threads = max(1, available_cores() // count)
    pool = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(threads,))
    try:
        yield _Interruptible(pool)
    except BaseException as error:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        if isinstance(error, BrokenExecutor):
            raise HarnessError(
                "A process of the demo was killed; perhaps its memory ran out.",
                remedy="Re-run the same command to resume.",
                code=Exit.UNEXPECTED,
            ) from None
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class _Interruptible(Executor):
    """A pool whose processes stop as the command does: see `interrupts`."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return self._pool.submit(_interruptible, partial(work, *args, **kwargs))


def _interruptible(work: Callable[[], T]) -> T:
    """What `work` returns; the process ends where it is interrupted.

    Raises:
        HarnessError: without what cannot be sent to another process.
    """
    interrupts.install()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return work()
    except Interrupted as stopped:
        os._exit(stopped.exit_code)  # all is saved; another lane may have died with the queue
    except HarnessError as error:
        raise HarnessError(
            error.what, known=error.known, remedy=error.remedy, code=error.code
        ) from None
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _begin(threads: int) -> None:
    """Make a process a lane. A signal to the command is not one to it: see `open_lanes`."""
    import torch

    end_with_parent()
    torch.set_num_threads(threads)
    if sys.stderr is not None:
        sys.stderr = _Lines(open(sys.stderr.fileno(), "wb", closefd=False), "utf-8", "replace")  # noqa: SIM115


class _Lines(io.TextIOWrapper):
    """stderr as a file: several processes cannot share a progress bar."""

    def isatty(self) -> bool:
        return False
