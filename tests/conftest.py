"""Checkpoints and questions that the tests make for themselves, the command run in-process, and what
holds for every test: it leaves nothing in the checkout, and is marked where it starts a process."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import contextlib
import gc
import json
import logging
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from harness import cli
from tests import traces
from tests.cpu_time import CpuTimes
from tests.drawn import draw_questions

if "PYTEST_XDIST_WORKER" not in os.environ:
    # The user's cache is left alone; the workers share one, which their parent removes.
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="harness-tests-")
CACHE = Path(os.environ["XDG_CACHE_HOME"])
REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FILES = pytest.StashKey[set[Path]]()
CHANGED = pytest.StashKey[list[str]]()

# What holds for any text is tried on fewer texts while one works than before a change lands, where
# .ci/run chooses the second profile by pytest's --hypothesis-profile.
settings.register_profile("quick", max_examples=50, deadline=None)
settings.register_profile("thorough", max_examples=250, deadline=None)
settings.load_profile("quick")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cpu-times",
        type=int,
        default=0,
        metavar="N",
        help="show the CPU seconds of the N files that take most, processes they start included",
    )


def pytest_configure(config: pytest.Config) -> None:
    # A collection walks all that lives, and torch, transformers and the tests are a million objects:
    # at Python's thresholds an eighth of the time goes there. Nothing that a test promises waits for
    # a collection; what it does not reach, reference counts have freed.
    gc.set_threshold(50_000, 20, 20)
    if number := config.getoption("--cpu-times"):
        config.pluginmanager.register(CpuTimes(number))


def pytest_collection_finish() -> None:
    gc.freeze()  # what imports left stays until the end: no collection needs to look at it
    if library := sys.modules.get("transformers.configuration_utils"):
        # It writes every configuration that it reads as JSON into log lines that nobody sees, a
        # tenth of the time in which a tiny model is loaded.
        library.PreTrainedConfig.__repr__ = object.__repr__  # type: ignore[attr-defined]


def pytest_sessionstart(session: pytest.Session) -> None:
    traces.watch()
    session.stash[FILES] = traces.files()


@pytest.hookimpl(trylast=True)  # when all workers have ended
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tests write below their own temporary folders: the checkout is as it was."""
    if hasattr(session.config, "workerinput"):
        return  # the process that gathers the results sees what all workers did
    shutil.rmtree(CACHE, ignore_errors=True)
    changed = session.config.stash[CHANGED] = traces.difference(
        session.stash[FILES], traces.files()
    )
    if changed and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for path in config.stash.get(CHANGED, []):
        terminalreporter.write_line(f"The tests changed the checkout: {path}", red=True)


@pytest.fixture(autouse=True)
def processes_are_marked(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that starts a process says so: `-m "not process"` is for whoever wants quick ones."""
    traces.started.clear()
    yield
    if traces.started and request.node.get_closest_marker("process") is None:
        pytest.fail(f"not marked `process`, but started {traces.started[0]}")


@dataclass(frozen=True)
class Result:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Result]]:
    """`command(*arguments)` runs the command as the console script does, in this process."""
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    # A library that an earlier test imported may log to the stream of that test, closed by now.
    monkeypatch.setattr(logging, "raiseExceptions", False)

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        capfd.readouterr()
        try:
            cli.main()
            code: Any = 0
        except SystemExit as error:
            code = error.code
        out, err = capfd.readouterr()
        return Result(int(code or 0), out, err)

    yield run
    for signum, handler in handlers.items():
        signal.signal(signum, handler)


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Path]:
    """`tiny("llava")` is the folder of a tiny random checkpoint, built once for all workers. Not to
    be written to."""
    from harness.families.tiny import build

    checkpoints = CACHE / "checkpoints"

    @cache
    def get(name: str, seed: int = 0) -> Path:
        folder = checkpoints / f"{name}-{seed}"
        if not folder.exists():
            checkpoints.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=checkpoints) as made:
                built = build(name, Path(made) / "built", seed=seed)
                with contextlib.suppress(OSError):  # another worker was faster
                    built.rename(folder)
        return folder

    return get


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with drawn questions: 64 of four topics. Not to be written to."""
    folder = tmp_path_factory.mktemp("questions")
    draw_questions(folder)
    return folder


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """A data folder of the test's own, with the same drawn questions."""
    folder = tmp_path / "questions"
    draw_questions(folder)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real questions, where there is one."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real questions in {REAL_DATA.name}: they are not part of the repository")
    return REAL_DATA
