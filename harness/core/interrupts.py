"""Ctrl-C and SIGTERM: stop at once, but never in the middle of a write."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Interrupted(BaseException):
    """The process was asked to stop. No `except Exception` catches it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum


class Interrupts:
    """Raises Interrupted when a signal arrives or, inside `shielded`, right after the block."""

    def __init__(self) -> None:
        self._shields = 0
        self._pending: int | None = None

    @property
    def pending(self) -> int | None:
        """The signal that a shield holds back."""
        return self._pending

    def install(self) -> None:
        """Take over SIGINT and SIGTERM; from the main thread only."""
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._handle)

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        if self._shields:
            self._pending = signum
        else:
            raise Interrupted(signum)

    @contextlib.contextmanager
    def shielded(self) -> Iterator[None]:
        """Let the block finish first."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
            if self._pending is not None and not self._shields:
                signum, self._pending = self._pending, None
                raise Interrupted(signum)


interrupts = Interrupts()
"""Signals belong to the process, so there is one of these."""
