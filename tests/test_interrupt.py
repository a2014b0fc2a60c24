"""Killed, interrupted, run again: the same answers, each once."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.core.interrupts import Interrupted, Interrupts
from tests import commands
from tests.commands import Running

KILLS = int(os.environ.get("HARNESS_KILLS", "3"))


@pytest.fixture
def start(tiny, drawn: Path, tmp_path: Path) -> Callable[..., Running]:
    """Starts `harness eval` as a process of its own."""

    def run(*more: object) -> Running:
        arguments = [
            *("eval", "--model", tiny("llava"), "--task", "scienceqa", "--data", drawn),
            *("--runs", tmp_path / "runs", "--max-new-tokens", 24, "--batch-size", 2, "--json"),
            *more,
        ]
        return commands.start(*arguments)

    return run


def whole_lines(folder: Path) -> list[bytes]:
    path = folder / "predictions.jsonl"
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def lines(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of predictions.jsonl, without their times."""
    times = {"seconds": None, "preprocess_seconds": None}
    return [{**json.loads(line), **times} for line in whole_lines(folder)]


def stop_after(
    process: Running, folder: Path, *, number: int, signum: signal.Signals
) -> tuple[int, str]:
    """Send `signum` once the run has `number` lines; returns the exit code and stderr."""
    while len(whole_lines(folder)) < number and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signum)
    _, err = process.communicate()
    return process.returncode, err


@pytest.mark.slow
@pytest.mark.process
def test_killed_again_and_again(start, tmp_path: Path) -> None:
    """With kill -9 at random points no sample lost or double, what was written stays, and the answers
    are those of an uninterrupted run."""
    chance = random.Random(1)
    folder = tmp_path / "runs" / "scienceqa" / "llava-0" / "test"
    kept: list[dict[str, Any]] = []
    for _ in range(KILLS):
        number = min(60, len(kept) + chance.randint(1, 48 // KILLS))
        code, _ = stop_after(start(), folder, number=number, signum=signal.SIGKILL)
        assert code == -signal.SIGKILL
        now = lines(folder)
        assert now[: len(kept)] == kept
        kept = now
    out, _ = start().communicate()
    (run,) = json.loads(out)["runs"]
    final = lines(folder)
    # Answers are written as they come, and put into the data's order at the end.
    answered = {row["sample_id"] for row in final}
    assert all(row["sample_id"] in answered for row in kept)
    assert len({row["sample_id"] for row in final}) == len(final) == 64
    assert run["status"] == "complete"
    assert run["timing"]["timed_samples"] == 64
    out, _ = start("--name", "whole").communicate()
    (whole,) = json.loads(out)["runs"]
    assert lines(Path(whole["folder"])) == final
    assert whole["metrics"] == run["metrics"]


@pytest.mark.process
def test_asked_to_stop(start, tmp_path: Path) -> None:
    """Ctrl-C, and SIGTERM after it, leave a run that says so and can be resumed, and the exit code
    tells."""
    folder = tmp_path / "runs" / "scienceqa" / "llava-0" / "test"
    rows: list[dict[str, Any]] = []
    for signum, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        most = len(rows) + 3
        found, err = stop_after(start(), folder, number=most, signum=signum)
        assert found == code
        assert "Traceback" not in err
        assert "re-run the same command to resume" in err
        record = json.loads((folder / "run.json").read_text())
        before, rows = rows, lines(folder)
        assert record["status"] == "interrupted"
        assert record["counts"]["done"] == len(rows) >= most
        assert record["metrics"]["accuracy"]["n"] == len(rows)
        assert all(row in rows for row in before)
    out, _ = start().communicate()
    assert json.loads(out)["runs"][0]["status"] == "complete"
    final = {row["sample_id"]: row for row in lines(folder)}
    assert all(final[row["sample_id"]] == row for row in rows)


@pytest.mark.process
def test_two_at_once(start, tmp_path: Path) -> None:
    """A second process on the same run is refused while the first one writes."""
    folder = tmp_path / "runs" / "scienceqa" / "llava-0" / "test"
    first = start()
    while not whole_lines(folder):
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)
    second = start()
    _, err = second.communicate()
    first.send_signal(signal.SIGCONT)
    first.communicate()
    assert second.returncode == 2
    assert "Another process is writing" in err
    assert first.returncode == 0


def test_a_shield_holds_a_signal_back_until_it_ends() -> None:
    """A write is never cut in two, and the signal is not forgotten."""
    interrupts = Interrupts()
    old = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    interrupts.install()
    done = []
    try:
        with pytest.raises(Interrupted) as caught, interrupts.shielded():  # noqa: PT012  # the shield is what is tested
            signal.raise_signal(signal.SIGTERM)
            done.append("written")
        assert caught.value.exit_code == 143
        assert done == ["written"]
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, old[0])
        signal.signal(signal.SIGTERM, old[1])
