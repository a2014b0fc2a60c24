"""Preparing ahead, in other processes: the same answers, bounded, and clear when it fails."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from distill.rationales import teacher
from harness.core.errors import Exit, HarnessError
from harness.engine import prefetch
from harness.engine.prefetch import PREFETCH_FACTOR, ahead, default_workers


@pytest.mark.process
def test_items_come_in_order_from_other_processes() -> None:
    """Whoever is faster, the first item is the first out."""
    made = list(ahead(lambda n: (n * n, os.getpid()), range(20), workers=2))
    assert [square for square, _ in made] == [n * n for n in range(20)]
    assert os.getpid() not in {process for _, process in made}


@pytest.mark.process
def test_only_a_few_items_are_ahead() -> None:
    """Memory for what is ready and not yet taken is bounded, however long the line."""
    asked = []

    def numbers() -> Iterator[int]:
        for number in range(10_000):
            asked.append(number)
            yield number

    made = ahead(lambda n: n, numbers(), workers=2)
    for _ in range(5):
        next(made)
    assert len(asked) <= 5 + 2 * PREFETCH_FACTOR + 1
    made.close()  # type: ignore[attr-defined]


@pytest.mark.process
def test_a_process_that_dies_is_told() -> None:
    """Killed, for want of memory or otherwise: a message with a remedy, no traceback, no wait."""

    def make(number: int) -> int:
        if number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(HarnessError, match="has died") as caught:
        list(ahead(make, range(50), workers=2))
    assert "--workers 0" in str(caught.value.remedy)


@pytest.mark.process
def test_an_error_for_users_arrives_as_it_was() -> None:
    """With what is known, the remedy and the exit code, and after the items before it."""

    def make(number: int) -> int:
        if number == 3:
            raise HarnessError("what", known="known", remedy="remedy", code=Exit.MISSING)
        return number

    made = ahead(make, range(6), workers=2)
    assert [next(made) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(HarnessError) as caught:
        next(made)
    assert caught.value.to_json() == {
        "what": "what",
        "known": "known",
        "remedy": "remedy",
        "code": 3,
    }


def test_workers_go_by_cores_and_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """None beside a model that computes on the same cores; one core is left to the model's."""
    monkeypatch.setattr(prefetch, "available_cores", lambda: 6)
    assert default_workers("cpu") == 0
    assert default_workers("cuda:1") == 5
    monkeypatch.setattr(prefetch, "available_cores", lambda: 64)
    assert default_workers("cuda") == prefetch.MAX_DEFAULT_WORKERS
    monkeypatch.setattr(prefetch, "can_fork", lambda: False)
    assert default_workers("cuda") == 0


def test_a_teacher_prepares_ahead_as_an_evaluation_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU, where the questions pay for the processes; a server does its own preparing."""
    monkeypatch.setattr(prefetch, "available_cores", lambda: 64)

    def workers(device: str, samples: int, *, prepares_ahead: bool = True) -> int:
        capabilities = SimpleNamespace(prepares_ahead=prepares_ahead)
        source: Any = SimpleNamespace(capabilities=capabilities, device=device)
        return teacher._workers(source, samples)

    assert workers("cuda", 64) == 4
    assert workers("cuda", 10_000) == prefetch.MAX_DEFAULT_WORKERS
    assert workers("cuda", 15) == workers("cpu", 64) == 0
    assert workers("cuda", 64, prepares_ahead=False) == 0


def predictions(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    times = {"seconds": None, "preprocess_seconds": None}
    return [{**json.loads(line), **times} for line in lines]


@pytest.mark.parametrize(
    "how", [("--engine", "harness"), ("--engine", "transformers"), ("--mode", "loglikelihood")]
)
@pytest.mark.process
def test_answers_are_the_same_with_workers(
    command, tiny, questions: Path, tmp_path: Path, how: tuple[str, str]
) -> None:
    """In every way of answering; a bad picture is an error row in either."""
    rows = (questions / "test.jsonl").read_text().splitlines()
    (questions / json.loads(rows[3])["image"]).write_bytes(b"no picture")
    found = []
    for workers in (0, 2):
        limit = () if how[0] == "--mode" else ("--max-new-tokens", 6)
        told = command(
            "eval", "--model", tiny("llava"), "--task", "scienceqa", "--data", questions,
            "--limit", 14, *limit, "--workers", workers, "--name", f"w{workers}",
            "--runs", tmp_path / "runs", "--json", *how,
        )  # fmt: skip
        (run,) = told.json["runs"]
        assert told.code == 4
        assert run["counts"]["failed"] == 1
        assert run["settings"]["workers"] == workers
        found.append(predictions(Path(run["folder"])))
    assert found[0] == found[1]
    assert sum(row["error"] is not None for row in found[0]) == 1
