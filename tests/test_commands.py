"""The tests' own ground: commands forked from a warm parent, traces, and what make runs."""

from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path

import pytest

from tests import cpu_time, traces
from tests.commands import harness

pytestmark = pytest.mark.process


@pytest.mark.slow
def test_a_forked_command_is_one_of_its_own(tmp_path: Path, drawn: Path) -> None:
    """Arguments, folder, environment, streams, exit code, session: as if it had been started."""
    done = harness(
        *("explain", "-", "--choices", "Alabama", "--choices", "Illinois", "--json"),
        given="So the answer is (B).",
    )
    assert done.returncode == 0, done.stderr
    assert '"B"' in done.stdout
    wrong = harness("show", "absent", cwd=tmp_path, env={**os.environ, "COLUMNS": "60"})
    assert wrong.returncode == 3, wrong.stderr
    assert "absent" in wrong.stderr
    assert not wrong.stdout
    assert harness("eval", "--nonsense").returncode == 2
    assert Path.cwd() != tmp_path


def test_the_parent_is_warm_and_has_one_thread() -> None:
    """What it forks has torch and the model classes; a second thread would be lost in the fork."""
    assert harness("--help").returncode == 0
    parent = forkserver._forkserver._forkserver_pid
    assert len(list(Path(f"/proc/{parent}/task").iterdir())) == 1
    loaded = Path(f"/proc/{parent}/maps").read_text()
    assert "libtorch" in loaded


def test_what_tests_leave_behind_is_seen(tmp_path: Path) -> None:
    """A new file, one that is gone, and an empty folder; caches apart."""
    (tmp_path / "gone").write_text("1")
    before = traces.files(tmp_path)
    (tmp_path / "gone").unlink()
    (tmp_path / "new").mkdir()
    (tmp_path / "page.html").write_text("1")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_text("1")
    changed = traces.difference(before, traces.files(tmp_path))
    assert [Path(path).name for path in changed] == ["gone", "new", "page.html"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="CPU times are read from /proc")
def test_cpu_time_includes_processes() -> None:
    """What a process has used counts while it runs and after it has ended."""
    spin = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    before = cpu_time.cpu_seconds()
    with subprocess.Popen(
        [sys.executable, "-c", spin], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        running = cpu_time.cpu_seconds()
        process.communicate("\n")
    assert running >= before + 0.25
    assert cpu_time.cpu_seconds() >= running
