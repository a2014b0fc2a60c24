"""Time limits for calls that a checkpoint's files control and that may never end.

A regular expression of a tokenizer, or the loops of a chat template, can take for ever. Such a call
runs on another thread, with a time limit. Python code is stopped at the limit; a library's compiled
code cannot be, so its thread is abandoned.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from hashlib import sha256
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

from harness.core.errors import Exit, HarnessError, SampleError

P = ParamSpec("P")
T = TypeVar("T")

MAX_SECONDS = 10.0
"""Seconds for one text; real tokenizers and templates need milliseconds."""
MAX_ENDLESS = 3
"""Inputs on which a function may exceed its limit: each of them can keep a core busy."""
_own = threading.local()


class CallTimeout(Exception):  # noqa: N818  # an outcome
    """A call exceeded its time limit."""


class LibraryPanic(Exception):  # noqa: N818  # an outcome
    """A library written in Rust panicked in a call."""


class _Stop(BaseException):
    """Raised on the other thread to stop it."""


def within(seconds: float, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `call` returns or raises.

    Raises:
        CallTimeout: it takes longer than `seconds`.
        LibraryPanic: a library panicked.
    """
    worker = getattr(_own, "worker", None)
    if worker is None or not worker.usable:
        worker = _own.worker = _Worker()
    done, result = worker.run(lambda: call(*args, **kwargs), seconds)
    if not done:
        _own.worker = None
        raise CallTimeout(f"it did not end within {seconds:g} s")
    if isinstance(result, _Raised):
        error = result.error
        # It extends BaseException, which nothing catches; its class cannot be imported.
        if type(error).__name__ == "PanicException":
            raise LibraryPanic(" ".join(str(error).split())[:300]) from error
        raise error
    value: T = result
    return value


class Limited:
    """A function that a checkpoint's files control, with a time limit for each call.

    Args:
        what: the function, as an error message begins.
        where: the checkpoint.
    """

    def __init__(self, call: Callable[..., Any], seconds: float, *, what: str, where: str) -> None:
        self._call = call
        self._seconds = seconds
        self._what = what
        self._where = where
        self._failures: dict[bytes, str] = {}
        self._endless = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns or raises.

        Raises:
            SampleError: it exceeds the limit, or panics, on this input.
            HarnessError: it exceeded the limit on `MAX_ENDLESS` inputs.
        """
        # A batch that fails is halved, so that its inputs are repeated.
        if self._failures and (known := self._failures.get(_digest(args, kwargs))):
            raise SampleError(known)
        try:
            return within(self._seconds, self._call, *args, **kwargs)
        except LibraryPanic as error:
            reason = f"{self._what} fails: {error}"
        except CallTimeout:
            reason = f"{self._what} did not end within {self._seconds:g} s"
            self._endless += 1
        self._failures[_digest(args, kwargs)] = reason
        if self._endless >= MAX_ENDLESS:
            raise HarnessError(
                f"{self._where}: {reason}, on {MAX_ENDLESS} inputs.",
                known="Its files make it do more work than any published checkpoint's.",
                remedy="Download the checkpoint again, from a source that you trust.",
                code=Exit.MISSING,
            )
        raise SampleError(reason)


def _digest(args: object, kwargs: object) -> bytes:
    return sha256(repr((args, kwargs)).encode("utf-8", "backslashreplace")).digest()


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Worker:
    """A thread that runs one call after the other for another thread."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._calls: SimpleQueue[Callable[[], Any]] = SimpleQueue()
        self._results: SimpleQueue[Any] = SimpleQueue()
        self._lock = threading.Lock()
        self._stopped = False
        # A daemon: the process exits without it.
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @property
    def usable(self) -> bool:
        """Whether the thread exists: a forked process has this object without it."""
        return self._process == os.getpid()

    def run(self, call: Callable[[], Any], seconds: float) -> tuple[bool, Any]:
        """Whether the call ended in time, and its result."""
        self._calls.put(call)
        try:
            return True, self._results.get(timeout=seconds)
        except Empty:
            self._stop()
            return False, None

    def _stop(self) -> None:
        with self._lock:  # not while the thread is between two calls
            self._stopped = True
            if self._results.empty():
                ident = ctypes.c_ulong(self._thread.ident or 0)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(_Stop))

    def _work(self) -> None:
        try:
            while not self._stopped:
                call = self._calls.get()
                result: Any
                try:
                    result = call()
                except _Stop:
                    return
                except BaseException as error:  # noqa: BLE001  # raised again in the waiting thread
                    result = _Raised(error)
                with self._lock:
                    self._results.put(result)
        except _Stop:
            return
