"""`harness` as a process of its own, forked from a parent that has imported what it needs.

Importing torch and transformers' model classes takes a process several seconds. Where a test is
about something else than starting, `start` and `harness` fork from one parent a test worker, which
has imported them (`tests.warm`) and has a single thread. To the test it is a process like any
other: streams, working folder, environment, session and process group are its own, signals reach
it, and its exit code is that of the console script. Variables that libraries read when they are
imported (HF_HOME, HF_HUB_OFFLINE, OMP_NUM_THREADS) are the parent's.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from multiprocessing import forkserver, reduction
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = Path(sys.executable).parent / "harness"
SECONDS = 300
"""How long a command may take on a busy machine."""


class _Streams:
    """stdin, stdout and stderr, handed to another process."""

    def __init__(self, *descriptors: int) -> None:
        self.descriptors = descriptors

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, tuple(reduction.DupFd(descriptor) for descriptor in self.descriptors)


def _arrived(*handles: Any) -> _Streams:
    return _Streams(*(handle.detach() for handle in handles))


def _main(
    streams: _Streams, arguments: list[str], folder: str, environment: dict[str, str]
) -> None:
    """In the new process: become `harness`, and end as it does."""
    from harness import cli

    os.setsid()
    for number, descriptor in enumerate(streams.descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = [str(SCRIPT), *arguments]
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    for number, name in enumerate(("stdout", "stderr"), start=1):
        setattr(sys, name, io.TextIOWrapper(open(number, "wb", closefd=False), "utf-8"))  # noqa: SIM115
    try:
        cli.main()
    finally:
        atexit._run_exitfuncs()


class Running:
    """A command that was started; what subprocess.Popen offers, as far as tests need it."""

    def __init__(
        self,
        arguments: list[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        given: str | None,
    ) -> None:
        self.arguments = arguments
        self._streams: list[IO[bytes]] = [tempfile.TemporaryFile() for _ in range(3)]  # noqa: SIM115
        self._streams[0].write((given or "").encode())
        self._streams[0].seek(0)
        self._process = multiprocessing.get_context("forkserver").Process(
            target=_main,
            args=(
                _Streams(*(stream.fileno() for stream in self._streams)),
                *(arguments, str(folder), dict(environment)),
            ),
        )
        _serve()
        sys.audit("tests.commands.start", arguments)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code; -N where signal N has ended it, None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, signum: signal.Signals) -> None:
        """Nothing happens where it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = SECONDS) -> int:
        """Raises subprocess.TimeoutExpired, and kills it, where it takes longer."""
        self._process.join(timeout)
        if self.returncode is None:
            self.kill()
            raise subprocess.TimeoutExpired(self.arguments, timeout)
        return self.returncode

    def communicate(self, timeout: float = SECONDS) -> tuple[str, str]:
        """Stdout and stderr, when it has ended."""
        self.wait(timeout)
        texts = []
        for stream in self._streams[1:]:
            stream.seek(0)
            texts.append(stream.read().decode())
        for stream in self._streams:
            stream.close()
        return texts[0], texts[1]


@cache
def _serve() -> None:
    """Start the parent; its working folder is the checkout, where it finds the tests."""
    forkserver.set_forkserver_preload(["tests.warm", __name__])
    with contextlib.chdir(ROOT):
        forkserver.ensure_running()


def start(
    *arguments: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    given: str | None = None,
) -> Running:
    """Begin `harness` with `arguments`, and with `given` as its standard input."""
    return Running(
        [str(argument) for argument in arguments],
        folder=cwd or Path.cwd(),
        environment=os.environ if env is None else env,
        given=given,
    )


def harness(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `harness` with `arguments` to its end; options as of `start`."""
    running = start(*arguments, **options)
    out, err = running.communicate()
    return subprocess.CompletedProcess(running.arguments, running.wait(), out, err)
