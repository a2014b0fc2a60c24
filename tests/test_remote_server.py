"""A real server, that of transformers, with a tiny checkpoint: the same answers as in process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from harness.core.types import Prediction
from harness.run.folder import RunFolder
from tests import commands

BIN = Path(sys.executable).parent
START = 240
"""Seconds that a server may take to start on a busy machine."""
pytestmark = [pytest.mark.slow, pytest.mark.process]


class Service:
    """`transformers serve` on this machine, at one port however often it is started."""

    def __init__(self, checkpoint: Path, home: Path) -> None:
        self.checkpoint = checkpoint
        self.home = home
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def model(self) -> str:
        return f"openai:{self.checkpoint}"

    def start(self) -> None:
        arguments = [
            *("serve", str(self.checkpoint), "--host", "127.0.0.1", "--port", str(self.port)),
            *("--device", "cpu", "--dtype", "float32"),
        ]
        # Without a cache of the hub its list of models is an error 500: it is not needed.
        own = {"HF_HOME": str(self.home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        with open(self.home / "serve.log", "ab") as log:
            self.process = subprocess.Popen(
                [BIN / "transformers", *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, **own},
            )

    def wait(self) -> None:
        """Until it answers; what it wrote is shown where it does not."""
        assert self.process is not None
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                url = f"http://127.0.0.1:{self.port}/health"
                if httpx2.get(url, trust_env=False, timeout=5).status_code == 200:
                    return
            except httpx2.TransportError:
                time.sleep(0.1)
        pytest.fail((self.home / "serve.log").read_text(errors="replace")[-3000:])

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def service(tiny, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests: importing torch takes it some ten seconds."""
    made = Service(tiny("llava"), tmp_path_factory.mktemp("service"))
    try:
        made.start()
        made.wait()
        yield made
    finally:
        made.kill()


def arguments(data: Path, runs: Path, *more: object) -> list[str]:
    """Of `harness eval`, the model apart."""
    fixed = [
        "--task",
        "scienceqa",
        "--data",
        data,
        "--runs",
        runs,
        "--max-new-tokens",
        12,
        "--json",
    ]
    return [str(each) for each in (*fixed, *more)]


def at(service: Service) -> list[str]:
    return ["--model", service.model, "--base-url", service.url, "--concurrency", "4"]


def here(service: Service) -> list[str]:
    return ["--model", str(service.checkpoint), "--device", "cpu", "--dtype", "float32"]


def rows(result: Any, code: int = 0) -> list[Prediction]:
    assert result.code == code, result.stderr
    (run,) = result.json["runs"]
    return RunFolder(Path(run["folder"])).read_predictions()


def answers(predictions: list[Prediction]) -> list[tuple[Any, ...]]:
    return [(p.sample_id, p.raw, p.answer, p.rule, p.tokens_in, p.error) for p in predictions]


def same(command: Callable[..., Any], service: Service, data: Path, folder: Path, *more: object):
    """The answers of the server, and of the same checkpoint in process."""
    how = arguments(data, folder / "runs", *more)
    return (
        rows(command("eval", *at(service), *how)),
        rows(command("eval", *here(service), *how)),
    )


def test_real_questions_have_the_answers_of_the_checkpoint_in_process(
    service: Service, command, real_data: Path, tmp_path: Path
) -> None:
    """100 real questions with their pictures, greedy, in float32: text by text, and token by token
    of the prompt, the server and the checkpoint loaded here are one model."""
    remote, local = same(command, service, real_data / "scienceqa-real", tmp_path)
    assert len(remote) == 100
    assert answers(remote) == answers(local)


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("--style", "structured", "--max-new-tokens", 30),
        ("--style", "cot"),
        ("--shuffle-choices", 3),
    ],
    ids=["direct", "structured", "cot", "shuffled"],
)
def test_every_way_of_asking_is_that_of_a_local_model(
    service: Service, command, drawn: Path, tmp_path: Path, more: tuple[object, ...]
) -> None:
    """Styles, and another order of the options, arrive as they do in process."""
    remote, local = same(command, service, drawn, tmp_path, "--limit", 12, *more)
    assert answers(remote) == answers(local)


def test_examples_and_questions_without_pictures_arrive(
    service: Service, command, tmp_path: Path
) -> None:
    """Few-shot prompts and text-only questions are those of a local model."""
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "test"):
        lines = [
            {
                "id": f"{split}{i}",
                "question": f"How much is {i} and {i}?",
                "choices": [str(2 * i), str(2 * i + 1)],
                "answer": i % 2,
                "topic": "sums",
            }
            for i in range(4)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (data / f"{split}.jsonl").write_text(text)
    more = ("--shots", 2, "--text-only", "include")
    remote, local = same(command, service, data, tmp_path, *more)
    assert len(remote) == 4
    assert answers(remote) == answers(local)
    assert remote[0].prompt.count("How much is") == 3


def test_a_server_that_was_killed_and_started_again_is_gone_on_with(
    service: Service, command, drawn: Path, tmp_path: Path
) -> None:
    """Kill -9 in the middle, and a new start: the run that waits ends with the answers of one that
    was never disturbed, and so does one that did not wait (exit 3), when it is given again."""
    runs = tmp_path / "runs" / "scienceqa"
    impatient = [*at(service), *arguments(drawn, tmp_path / "runs", "--patience", 0)]
    impatient += ["--name", "impatient"]
    assert len(rows(command("eval", *impatient, "--limit", "16"))) == 16
    process = commands.start(
        *("eval", *at(service), "--concurrency", "2", "--name", "patient"),
        *arguments(drawn, tmp_path / "runs", "--patience", 2 * START),
    )
    while not answered(runs / "patient") and process.poll() is None:
        time.sleep(0.002)
    service.kill()
    before = answered(runs / "patient")
    try:
        gone = command("eval", *impatient)
        service.start()
        out, err = process.communicate(timeout=3 * START)
    finally:
        process.kill()
        service.wait()  # the tests that follow need it
    assert gone.code == 3
    assert f"No server answers at {service.url}" in gone.stderr
    assert process.returncode == 0, err
    assert 0 < before < 64
    assert "waiting up to" in err
    (run,) = json.loads(out)["runs"]
    assert (run["status"], run["counts"]["failed"]) == ("complete", 0)
    whole = answers(rows(command("eval", *here(service), *arguments(drawn, tmp_path / "here"))))
    assert answers(RunFolder(Path(run["folder"])).read_predictions()) == whole
    assert answers(rows(command("eval", *impatient))) == whole


def answered(runs: Path) -> int:
    """Whole lines of predictions so far."""
    return sum(path.read_bytes().count(b"\n") for path in runs.rglob("predictions.jsonl"))


def test_a_name_that_the_server_does_not_have_ends_the_run(
    service: Service, command, drawn: Path, tmp_path: Path
) -> None:
    """The server's own words are in the message, and nothing was answered."""
    result = command(
        *("eval", "--model", "openai:another", "--base-url", service.url),
        *arguments(drawn, tmp_path / "runs"),
    )
    assert result.code == 1
    assert "requested 'another'" in result.stderr
    assert answered(tmp_path / "runs" / "scienceqa") == 0


def test_a_server_teaches_what_the_checkpoint_would(
    service: Service, command, drawn: Path, tmp_path: Path
) -> None:
    """Rationales of the server are those of the same checkpoint in process, text by text."""
    texts = []
    for teacher in (
        ["--teacher", service.model, "--base-url", service.url],
        ["--teacher", str(service.checkpoint), "--device", "cpu", "--dtype", "float32"],
    ):
        runs = tmp_path / str(len(texts))
        result = command(
            *("distill", "rationales", *teacher, "--data", drawn, "--split", "test", "--json"),
            *("--limit", 6, "--teacher-tokens", 40, "--runs", runs, "--name", "kd"),
        )
        assert result.code == 0, result.stderr
        written = (runs / "distill" / "kd" / "attempts.jsonl").read_text().splitlines()
        texts.append({line["id"]: line["raw"] for line in map(json.loads, written)})
    assert len(texts[0]) == 6
    assert texts[0] == texts[1]


def test_an_interrupt_while_the_server_works_ends_the_command(
    service: Service, drawn: Path, tmp_path: Path
) -> None:
    """Ctrl-C does not wait for the server, and the server goes on for the next."""
    process = commands.start("eval", *at(service), *arguments(drawn, tmp_path / "runs"))
    kept = tmp_path / "runs" / "scienceqa"
    while not answered(kept) and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    service.wait()
