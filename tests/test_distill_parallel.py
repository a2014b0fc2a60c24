"""Training over several processes: the result is that of one, whoever dies and however many go on."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from safetensors.torch import load_file

from distill.config import DistillConfig, preset
from distill.examples import Example
from distill.training import checkpointing
from distill.training.train import train
from distill.training.validation import Validation
from harness.core.errors import DataError, HarnessError
from harness.core.interrupts import Interrupted, interrupts
from harness.core.progress import Lines
from harness.core.structured import Rationale
from harness.core.types import DataOptions
from tasks.scienceqa import load as load_questions

FP32 = preset(
    "paper",
    precision="float32",
    learning_rate=1e-3,
    batch_size=4,
    checkpoint_every=2,
    eval_every=3,
    max_new_tokens=4,
)
SHARDED = replace(FP32, parallel="fsdp2")
WAYS = {"ddp": FP32, "fsdp2": SHARDED}
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def examples(drawn: Path) -> list[Example]:
    """Six steps of four drawn questions; the last one has a single question."""
    samples = load_questions(DataOptions(path=drawn)).samples
    return [
        Example(s, Rationale(s.question, f"A {s.topic} picture.", s.solution, "A"))
        for s in samples[::3]
    ][:21]


@pytest.fixture(scope="module")
def run(tiny, examples: list[Example], tmp_path_factory) -> Callable[..., Path]:
    """`run(out, config)` trains in the process that calls it; features are shared by all."""
    features = tmp_path_factory.mktemp("features")

    def go(out: Path, config: DistillConfig = FP32, some: Any = None, **more: Any) -> Path:
        more = {"base": tiny("moondream"), "features": features, **more}
        more.setdefault("validation", Validation(examples=examples[:3]))
        return train(some or examples, out=out, config=config, **more)

    return go


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory) -> Path:
    """The run of one process: six steps."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    run(out)
    return out


Work = Callable[[int], object]
"""What a process does; it is given its rank."""


def together(number: int, work: Work) -> list[int]:
    """The exit codes of `number` processes that do `work` as one training; a HarnessError is its
    code, and an interrupt its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def begin(rank: int) -> None:
        os.environ.update(
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(number),
            LOCAL_WORLD_SIZE=str(number),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
        )
        AcceleratorState._reset_state(reset_partial_state=True)
        PartialState._reset_state()
        interrupts.install()
        try:
            work(rank)
        except HarnessError as error:
            sys.stderr.write(f"{error}\n")
            os._exit(int(error.code))
        except Interrupted as error:
            os._exit(error.exit_code)
        os._exit(0)

    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=begin, args=(rank,)) for rank in range(number)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()  # where one has hung
    return codes


def lines(out: Path) -> list[dict[str, Any]]:
    text = (out / "training_log.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def validations(out: Path) -> list[dict[str, Any]]:
    """None where the training evaluates nothing."""
    log = out / "validation_log.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "distill.json").read_text())
    return found


def same(out: Path, expected: Path) -> None:
    """Every step once, with the same loss, gradient, rate and tokens; the same evaluations; and the
    same student."""
    found, other = lines(out), lines(expected)
    assert [line["step"] for line in found] == [line["step"] for line in other]
    for line, wanted in zip(found, other, strict=True):
        assert line["loss"] == pytest.approx(wanted["loss"], abs=2e-5)
        assert line["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=1e-4)
        for name in ("lr", "tokens", "target_tokens"):
            assert line[name] == wanted[name]
    evaluations, others = (validations(folder) for folder in (out, expected))
    assert [line["step"] for line in evaluations] == [line["step"] for line in others]
    for line, wanted in zip(evaluations, others, strict=True):
        assert line["loss"] == pytest.approx(wanted["loss"], abs=2e-5)
        assert (line["questions"], line["score"]) == (wanted["questions"], wanted["score"])
        assert [a["id"] for a in line["answers"]] == [a["id"] for a in wanted["answers"]]
    weights, others = (load_file(f / "student" / "model.safetensors") for f in (out, expected))
    assert weights.keys() == others.keys()
    for name, tensor in others.items():
        assert weights[name].dtype == tensor.dtype
        assert torch.allclose(weights[name], tensor, atol=1e-4), name


@pytest.mark.parametrize(
    ("way", "number"),
    [
        ("ddp", 2),
        ("fsdp2", 3),
        pytest.param("ddp", 3, marks=pytest.mark.slow),
        pytest.param("fsdp2", 2, marks=pytest.mark.slow),
    ],
)
@pytest.mark.process
def test_several_processes_are_one(run, whole: Path, tmp_path: Path, way: str, number: int) -> None:
    """Each takes its share of every batch, whose size stays; the last batch has less samples than
    processes. One record, one log, one student in the published layout."""
    out = tmp_path / "run"
    assert together(number, lambda _: run(out, WAYS[way])) == [0] * number
    same(out, whole)
    (session,) = record(out)["sessions"]
    assert (session["processes"], session["parallel"]) == (number, way)
    student = {path.name for path in (whole / "student").iterdir()}
    assert {path.name for path in (out / "student").iterdir()} == student
    assert record(out)["status"] == "complete"
    # A complete run is left alone by any number of processes.
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    assert together(2, lambda _: run(out, WAYS[way])) == [0, 0]
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()} == before


@pytest.mark.slow
@pytest.mark.process
def test_batch_size_is_of_all_processes(run, examples, tmp_path: Path) -> None:
    """Table 3's batch of 16 is 16 questions a step with one process and with three, in one pass or
    in four."""
    config = replace(SHARDED, batch_size=16, accumulation=4)
    run(tmp_path / "one", replace(FP32, batch_size=16))
    assert together(3, lambda _: run(tmp_path / "three", config)) == [0, 0, 0]
    same(tmp_path / "three", tmp_path / "one")
    assert len(lines(tmp_path / "three")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"lora_rank": 2}, {"gradient_checkpointing": True}], ids=str)
@pytest.mark.process
def test_sharded_with(run, tmp_path: Path, changes: dict[str, Any]) -> None:
    """Adapters, which are merged when all are together, and activations computed again."""
    run(tmp_path / "one", replace(FP32, **changes))
    config = replace(SHARDED, **changes)
    assert together(2, lambda _: run(tmp_path / "two", config)) == [0, 0]
    same(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
@pytest.mark.process
def test_sharded_in_bfloat16(run, tmp_path: Path) -> None:
    """Frozen weights in bfloat16 beside trained ones in float32, in the same layer: the curve is
    one process's, as far as bfloat16 can tell."""
    config = replace(SHARDED, precision="bfloat16", lora_rank=2, train=("layers", "head"))
    run(tmp_path / "one", replace(config, parallel="ddp"))
    assert together(2, lambda _: run(tmp_path / "two", config)) == [0, 0]
    for line, other in zip(lines(tmp_path / "two"), lines(tmp_path / "one"), strict=True):
        assert line["loss"] == pytest.approx(other["loss"], abs=0.02)


def die_at(event: str, ending: str, count: int) -> None:
    """Kill this process with -9 when it renames a file of that name, or opens it to write, for the
    n-th time."""
    left = count

    def watch(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if name == event and str(arguments[0]).endswith(ending):
            if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
                return
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


# Who dies, where; then with how many processes, and how, the run goes on.
DEATHS: dict[str, tuple[DistillConfig, int, tuple[Any, ...], int, DistillConfig]] = {
    "the first of two, between checkpoints; one goes on": (
        *(FP32, 0, ("open", "training_log.jsonl", 5)),
        *(1, FP32),
    ),
    "the second of two, writing its shard; one goes on": (
        *(
            SHARDED,
            1,
            ("open", "step-00000004.tmp/shard-00002-model-00001-of-00001.safetensors", 1),
        ),
        *(1, FP32),
    ),
    "the first of two, naming a checkpoint; three go on": (
        *(SHARDED, 0, ("os.rename", ".step-00000004.tmp", 1)),
        *(3, SHARDED),
    ),
    "the first of two, between checkpoints; two that hold all go on": (
        *(SHARDED, 0, ("open", "training_log.jsonl", 5)),
        *(2, FP32),
    ),
}


@pytest.mark.parametrize(
    "death",
    [
        pytest.param(death, marks=pytest.mark.slow if number else ())
        for number, death in enumerate(DEATHS)
    ],
)
@pytest.mark.process
def test_killed_on_two(run, whole: Path, tmp_path: Path, death: str) -> None:
    """Killed with -9: the other one ends too and says why, no checkpoint is lost, and any number of
    processes goes on to the same curve and the same student."""
    config, rank, place, number, then = DEATHS[death]
    out = tmp_path / "run"

    def work(mine: int) -> None:
        if mine == rank:
            die_at(*place)
        run(out, config)

    codes = together(2, work)
    assert codes[rank] == -signal.SIGKILL
    assert codes[1 - rank] == 1
    assert record(out)["status"] == "running"
    assert checkpointing.latest_step(out / "checkpoints") in {2, 4}
    if number == 1:
        run(out, then)
    else:
        assert together(number, lambda _: run(out, then)) == [0] * number
    same(out, whole)
    first, second = record(out)["sessions"]
    assert (first["processes"], second["processes"]) == (2, number)
    assert (first["from_step"], second["from_step"]) in {(1, 3), (1, 5)}
    hidden = [p.name for p in out.rglob(".*") if p.name != ".train.lock"]
    assert not hidden


@pytest.mark.parametrize("way", ["fsdp2", pytest.param("ddp", marks=pytest.mark.slow)])
@pytest.mark.process
def test_killed_on_one(run, whole: Path, tmp_path: Path, way: str) -> None:
    """And two go on, whichever way they hold the model."""
    out = tmp_path / "run"

    def work(_: int) -> None:
        die_at("open", "training_log.jsonl", 5)
        run(out)

    assert together(1, work) == [-signal.SIGKILL]
    assert checkpointing.latest_step(out / "checkpoints") == 4
    assert together(2, lambda _: run(out, WAYS[way])) == [0, 0]
    same(out, whole)


@pytest.mark.parametrize("way", ["ddp", pytest.param("fsdp2", marks=pytest.mark.slow)])
@pytest.mark.process
def test_one_of_two_is_asked_to_stop(run, whole: Path, tmp_path: Path, way: str) -> None:
    """Both finish the step, leave a checkpoint, and exit as the one that was asked."""
    out = tmp_path / "run"

    class AtStep(Lines):
        def advance(self, count: int = 1, *, tokens: int = 0, loss: float | None = None) -> None:
            super().advance(count, tokens=tokens, loss=loss)
            if loss is not None and self._done == 3:
                signal.raise_signal(signal.SIGTERM)

    codes = together(2, lambda _: run(out, WAYS[way], progress=AtStep))
    assert codes == [143, 143]
    assert checkpointing.latest_step(out / "checkpoints") == 3
    run(out)
    same(out, whole)


@pytest.mark.slow
@pytest.mark.process
def test_a_full_disk_of_one_process(run, whole: Path, tmp_path: Path) -> None:
    """A process that cannot write its shard is named, no checkpoint is lost, the run goes on."""
    out = tmp_path / "run"

    def work(rank: int) -> None:
        if rank == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            run(out, replace(SHARDED, feature_cache_gb=0))
        except HarnessError as error:
            (tmp_path / f"said-{rank}").write_text(str(error))
            raise

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    assert together(2, work) == [1, 1]
    said = (tmp_path / "said-0").read_text()
    assert "cannot be written to" in said
    assert "process 1" in said
    assert not list((out / "checkpoints").glob("*"))
    run(out)
    same(out, whole)


@pytest.mark.process
@pytest.mark.slow
def test_a_missing_shard(run, tmp_path: Path) -> None:
    """It is told, not read as zeros; and so is one that is cut."""
    out = tmp_path / "run"
    assert together(2, lambda _: run(out, SHARDED)) == [0, 0]
    path = out / "checkpoints" / "step-00000006"
    (shard,) = path.glob("shard-00002*")
    data = shard.read_bytes()
    shard.write_bytes(data[:-8])
    with pytest.raises(DataError, match="is damaged"):
        checkpointing.load(path)
    shard.unlink()
    with pytest.raises(DataError, match="shard-00002"):
        checkpointing.load(path)
    shard.write_bytes(data)
    kept = checkpointing.load(path).model
    (weight,) = (t for name, t in kept.items() if name.endswith("lm_head.weight"))
    assert torch.equal(weight, load_file(out / "student" / "model.safetensors")[HEAD])


HEAD = "text_model.lm_head.linear.weight"


@pytest.mark.parametrize(
    ("environment", "more", "said"),
    [
        ({}, {"config": SHARDED}, "there is one"),
        ({"WORLD_SIZE": "2"}, {}, "does not define which"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, {}, "does not define which"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, {"device": "cuda:1"}, "a device of its own"),
        ({"ACCELERATE_USE_FSDP": "true"}, {}, "--parallel"),
    ],
    ids=str,
)
def test_what_cannot_be(  # noqa: PLR0917  # pytest gives them by name
    run, tmp_path: Path, monkeypatch, environment: dict[str, str], more: dict[str, Any], said: str
) -> None:
    """It is refused before anything is written, and the message names what helps."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HarnessError, match=said) as caught:
        run(tmp_path / "run", **more)
    assert caught.value.remedy
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stage", [(), ("rationales",)], ids=str)
def test_what_is_one_process(command, monkeypatch, drawn: Path, stage: tuple[str, ...]) -> None:
    """All stages at once, and asking a teacher, say so instead of standing in each other's way."""
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    result = command("distill", *stage, "--data", drawn)
    assert result.code == 2
    assert "[process 1] Error: " in result.stderr
    assert "is one process, and 2 were started" in result.stderr


def test_8_bit_adam_is_not_sharded() -> None:
    """Its tensors would be cut in the middle of a block."""
    with pytest.raises(HarnessError, match="8-bit Adam"):
        replace(SHARDED, optimizer="adam8bit")


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ("torchrun", "--no-python", "--nproc-per-node", "2"),
        ("accelerate", "launch", "--multi_gpu", "--no_python", "--num_processes", "2"),
    ],
    ids=lambda words: words[0],
)
def test_the_documented_commands(
    tiny, drawn: Path, tmp_path: Path, launcher: Sequence[str], command
) -> None:
    """Launched as docs/multi-gpu.md says: one student, one answer on stdout, one process's curve."""
    arguments = [
        *("distill", "train", "--target", "answer", "--data", drawn, "--split", "test"),
        *("--base", tiny("moondream"), "--runs", tmp_path, "--device", "cpu", "--limit", 24),
        *("--precision", "float32", "--learning-rate", "1e-3", "--json"),
    ]
    done = subprocess.run(
        [
            *(BIN / launcher[0], *launcher[1:], BIN / "harness", *map(str, arguments)),
            *("--name", "two", "--parallel", "fsdp2"),
        ],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    said = json.loads(done.stdout)
    assert said["sessions"][0]["processes"] == 2
    assert command(*arguments, "--name", "one").code == 0
    same(tmp_path / "distill" / "two", tmp_path / "distill" / "one")
