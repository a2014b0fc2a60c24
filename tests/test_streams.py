"""stdout and stderr that are closed, full, or read by nobody."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.cli.streams import lasting
from harness.core import progress


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """An answer made elsewhere."""
    path = tmp_path / "harness.jsonl"
    path.write_text(json.dumps({"id": "1", "raw": "A", "choices": ["x", "y"], "target": 0}))
    return path


@contextmanager
def instead(number: int, there: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stream with that number leads elsewhere: to a path, to "closed", or to a "gone" reader."""
    kept = os.dup(number)
    if there == "closed":
        os.close(number)
        monkeypatch.setattr(sys, {1: "stdout", 2: "stderr"}[number], None)
    else:
        reader, writer = os.pipe()
        target = writer if there == "gone" else os.open(there, os.O_WRONLY)
        os.dup2(target, number)
        for each in {reader, writer, target}:
            os.close(each)
    try:
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("where", "code", "said"),
    [
        ((1, "closed"), 0, "stdout is closed: results are not printed."),
        ((1, "/dev/full"), 1, "Error: stdout cannot be written: No space left on device."),
        ((1, "gone"), 0, ""),
        ((2, "closed"), 0, "harness"),
        ((2, "/dev/full"), 0, "harness"),
        ((2, "gone"), 0, "harness"),
    ],
)
def test_a_run_is_scored_whoever_listens(
    command, answers: Path, monkeypatch: pytest.MonkeyPatch, *, where, code, said
) -> None:
    """What is computed is on disk. Results that nobody got are reported; logs are not."""
    runs = answers.parent / "runs"
    with instead(*where, monkeypatch):
        result = command("score", answers, "--task", "scienceqa", "--runs", runs)
    assert result.code == code
    assert said in (result.stderr if where[0] == 1 else result.stdout)
    record = json.loads((runs / "scienceqa/harness/test/run.json").read_text())
    assert record["status"] == "complete"


def test_the_number_of_a_closed_stream_is_not_given_to_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What libraries print must not go into the next file that is opened."""
    with (
        instead(1, "closed", monkeypatch),
        lasting() as stdout,
        open(tmp_path / "answers", "wb") as file,
    ):
        assert file.fileno() > 2
        sys.stdout.write("a result")
    assert stdout.failure is not None


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("closed")])
def test_a_progress_line_that_cannot_be_written_ends_nothing(error: Exception) -> None:
    """Progress is no result."""

    def write(_: str) -> None:
        raise error

    with progress.Lines(
        "x", total=4, done=0, clock=iter(range(0, 999, 60)).__next__, write=write
    ) as bar:
        bar.advance(2)
        bar.advance(2)


def test_progress_without_stderr_goes_nowhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not to stdout either, where `print` would put it."""
    monkeypatch.setattr(sys, "stderr", None)
    with progress.make("x", total=1, done=0) as bar:
        bar.advance()
    assert not capsys.readouterr().out


def test_a_bar_on_a_terminal_that_has_gone_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The window was closed."""

    class Gone(io.StringIO):
        def isatty(self) -> bool:
            return True

        def write(self, _: str) -> int:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stderr", Gone())
    with progress.make("x", total=1, done=0) as bar:
        bar.advance()
