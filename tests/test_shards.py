"""One run answered by several processes: the answers are those of one, whoever dies."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from harness.core import timing
from harness.core.errors import HarnessError
from harness.core.files.locks import InUse
from harness.core.interrupts import Interrupted, interrupts
from harness.core.options import GenerationOptions, ModelOptions, RunOptions
from harness.core.processes import Place, here, own_device
from harness.core.types import DataOptions, Sample
from harness.run import shards
from harness.run.evaluate import evaluate
from harness.run.folder import RunFolder
from harness.run.task_data import Data
from harness.sources.weights import Weights
from tasks import load_task

BIN = Path(sys.executable).parent
Answer = Callable[..., Path]


@pytest.fixture(scope="module")
def answer_below(tiny, drawn: Path) -> Answer:
    """`answer_below(runs)` answers the drawn questions in the process that calls it, and returns the
    folder of the run."""

    def run(runs: Path, data: Path = drawn, model: Path | None = None, **more: Any) -> Path:
        names = ("temperature", "max_new_tokens", "shuffle", "shots", "style")
        chosen = {"max_new_tokens": 6, **{name: more.pop(name) for name in names if name in more}}
        options = ModelOptions(model=str(model or tiny("llava")), name="m", device="cpu")
        how = RunOptions(
            **{"runs": runs, "batch_size": 3, **more}, generation=GenerationOptions(**chosen)
        )
        questions = Data(load_task("scienceqa"), DataOptions(path=data))
        return evaluate(Weights(options), questions, how).folder

    return run


@pytest.fixture
def answer(answer_below: Answer, tmp_path: Path) -> Answer:
    """The same, `answer()` or `answer("runs")`, in the test's own folder."""

    def run(runs: str = "runs", *data: Path, **more: Any) -> Path:
        return answer_below(tmp_path / runs, *data, **more)

    return run


@pytest.fixture(scope="module")
def one(answer_below: Answer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process answers, all questions. Not to be written to."""
    return answer_below(tmp_path_factory.mktemp("one"))


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever launched the tests is not asked."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)


def start(work: Callable[[], object], rank: int, number: int) -> BaseProcess:
    """Begin `work` as process `rank` of `number`, with all that this one has loaded; it exits as
    the command would."""

    def begin() -> None:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(number))
        os.environ["LOCAL_WORLD_SIZE"] = str(number)
        interrupts.install()
        try:
            work()
        except HarnessError as error:
            sys.stderr.write(f"{error}\n")
            os._exit(int(error.code))
        except Interrupted as error:
            os._exit(error.exit_code)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=begin)
    process.start()
    return process


def ended(processes: Iterable[BaseProcess]) -> list[int | None]:
    """The exit codes."""
    processes = list(processes)
    for process in processes:
        process.join(300)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()  # where one has hung
    return codes


def together(work: Callable[[], object], number: int) -> list[int | None]:
    return ended([start(work, rank, number) for rank in range(number)])


def folder_of(tmp_path: Path, runs: str = "runs") -> Path:
    return tmp_path / runs / "scienceqa" / "m" / "test"


def lines(path: Path) -> list[bytes]:
    """The whole lines of a run's or a shard's predictions.jsonl."""
    file = path / "predictions.jsonl"
    return file.read_bytes().split(b"\n")[:-1] if file.exists() else []


def rows(path: Path) -> list[dict[str, Any]]:
    """What they say, without the times."""
    times = {"seconds": 0, "preprocess_seconds": 0}
    return [{**json.loads(line), **times} for line in lines(path)]


def record(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "run.json").read_text())
    return found


def same(path: Path, one: Path) -> None:
    """Every sample once, each answer that of one process, the same figures, nothing left over."""
    assert rows(path) == rows(one)
    found, expected = record(path), record(one)
    for name in ("status", "metrics", "counts", "fingerprint"):
        assert found[name] == expected[name], name
    assert sum(session["samples"] for session in found["sessions"]) == found["counts"]["done"]
    assert {file.name for file in path.iterdir()} - {".launch"} == {
        *(".lock", "run.json", "status.json", "predictions.jsonl")
    }


def until(path: Path, number: int, process: BaseProcess) -> None:
    """Wait until `path` has so many lines."""
    while len(lines(path)) < number and process.is_alive():
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "more"),
    [
        pytest.param(2, {}, marks=pytest.mark.slow),
        pytest.param(3, {"limit": 24}, marks=pytest.mark.slow),
        (2, {"temperature": 0.7, "limit": 20}),
    ],
    ids=str,
)
@pytest.mark.process
def test_several_processes_are_one(
    answer: Answer, tmp_path: Path, number: int, more: dict[str, Any]
) -> None:
    """Sorted by id the answers are those of one process, sampled ones too; every process is in the
    record, with what it answered."""
    one = answer("one", **more)
    assert together(lambda: answer(**more), number) == [0] * number
    path = folder_of(tmp_path)
    same(path, one)
    sessions = record(path)["sessions"]
    assert {session["processes"] for session in sessions} == {number}
    assert len({session["process"] for session in sessions}) == len(sessions) <= number


def test_answers_that_are_put_in_order_meanwhile_are_read_anew(tmp_path: Path) -> None:
    """A process that ends writes its answers in another order, in a new file: another one that is
    still at work neither stumbles over it nor misses an answer."""
    folder = RunFolder(tmp_path / "run")
    samples = [Sample(id=each, question="?", target=0) for each in ("a", "bbbb", "cc", "d", "e")]
    other = folder.shards_path / "0001" / "predictions.jsonl"
    other.parent.mkdir(parents=True)
    claims = shards.Claims(folder, samples, done=(), own=RunFolder(folder.shards_path / "0000"))
    asked: list[str] = []
    with contextlib.closing(claims):
        taken = claims.take([[sample] for sample in samples])
        for names in (("d", "bbbb"), ("bbbb", "cc", "d")):
            new = tmp_path / "new"
            new.write_text("".join(json.dumps({"sample_id": name}) + "\n" for name in names))
            new.replace(other)
            asked += [sample.id for sample in next(taken)]
            assert claims.known == len(names)
    assert asked == ["a", "e"]


@pytest.mark.process
def test_the_time_of_several_processes(answer: Answer, tmp_path: Path, command) -> None:
    """Minutes are summed over devices, and record and table say so; the wall clock is apart."""
    assert together(answer, 2) == [0, 0]
    path = folder_of(tmp_path)
    found = record(path)["timing"]
    seconds = [json.loads(line)["seconds"] for line in lines(path)]
    assert found["inference_minutes"] == pytest.approx(sum(seconds) / 60)
    assert found["device_minutes"] == found["inference_minutes"]
    assert found["timed_samples"] == 64
    begun, end = zip(
        *((s["answered_from"], s["answered_until"]) for s in record(path)["sessions"]), strict=True
    )
    assert found["wall_minutes"] <= (max(end) - min(begun)) / 60 + 1e-9
    assert found["devices"] == 2
    assert "up to 2 devices" in found["inference_minutes_definition"]
    said = command("show", path).stdout
    assert "sum over up to 2 devices at once" in said
    assert "min passed" in said


def session(begun: float, end: float | None, devices: int | None = 1) -> dict[str, Any]:
    return {"answered_from": begun, "answered_until": end, "devices": devices, "samples": 1}


@pytest.mark.parametrize(
    ("sessions", "devices", "minutes"),
    [
        ([], None, None),
        ([session(0, 60)], 1, 1.0),
        ([session(0, 60), session(30, 90)], 2, 1.5),
        ([session(0, 60), session(60, 120)], 1, 2.0),
        ([session(600, 660), session(0, 60, 2), session(10, 20, 4)], 6, 2.0),
        ([session(0, 60), {**session(5, None), "samples": 0}], 1, 1.0),
        ([session(0, 60), session(5, None)], None, None),
        ([session(0, 60), session(60, 90, None)], None, 1.5),
    ],
    ids=range(8),
)
def test_devices_at_once_and_the_time_that_passed(
    sessions: list[dict[str, Any]], devices: int | None, minutes: float | None
) -> None:
    """Gaps between processes are no time; one that answered nothing is not counted; one that did
    not say makes it unknown."""
    assert timing.at_once(sessions) == (devices, minutes)


@pytest.mark.slow
@pytest.mark.process
def test_real_questions(answer: Answer, tmp_path: Path, tiny, real_data: Path) -> None:
    """A hundred questions, or as many as there are, by one, two and three processes."""
    data = real_data / "scienceqa-real"
    one = answer("one", data, limit=100)
    for number in (2, 3):
        assert together(lambda n=number: answer(f"by-{n}", data, limit=100), number) == [0] * number
        same(folder_of(tmp_path, f"by-{number}"), one)


@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.process
@pytest.mark.slow
def test_the_others_do_what_a_killed_one_had_begun(
    answer: Answer, one: Path, tmp_path: Path, victim: int
) -> None:
    """Killed with -9 in the middle: those who live answer the rest, and the last one gathers, even
    if the first process is the dead one."""
    path = folder_of(tmp_path)
    processes = [start(answer, rank, 3) for rank in range(3)]
    until(path / "shards" / f"{victim:04}", 3, processes[victim])
    processes[victim].kill()
    codes = ended(processes)
    assert codes[victim] == -signal.SIGKILL
    assert [code for rank, code in enumerate(codes) if rank != victim] == [0, 0]
    same(path, one)
    assert record(path)["timing"]["timed_samples"] == 64


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.process
def test_all_killed(answer: Answer, one: Path, tmp_path: Path, number: int) -> None:
    """What two had answered stays, and one process goes on, or three."""
    path = folder_of(tmp_path)
    processes = [start(answer, rank, 2) for rank in range(2)]
    for rank, process in enumerate(processes):
        until(path / "shards" / f"{rank:04}", 3, process)
    for process in processes:
        process.kill()
    ended(processes)
    kept = {row["sample_id"] for each in (path / "shards").glob("0*") for row in rows(each)}
    times = [line for each in (path / "shards").glob("0*") for line in lines(each)]
    assert 6 <= len(kept) == len(times)
    if number == 1:
        answer()
    else:
        assert together(answer, 3) == [0, 0, 0]
    same(path, one)
    # Nothing that was written is answered again: the lines are those that were there.
    assert set(times) <= set(lines(path))
    assert record(path)["timing"]["wall_minutes"] is not None


@pytest.mark.process
def test_asked_to_stop(answer: Answer, one: Path, tmp_path: Path) -> None:
    """SIGTERM to all: one run that says it was interrupted, with all that was answered, scored."""
    path = folder_of(tmp_path)
    processes = [start(answer, rank, 2) for rank in range(2)]
    until(path / "shards" / "0001", 3, processes[1])
    for process in processes:
        process.terminate()
    assert ended(processes) == [143, 143]
    found = record(path)
    assert found["status"] == "interrupted"
    assert found["counts"]["done"] == len(rows(path)) == found["metrics"]["accuracy"]["n"] > 0
    assert not (path / "shards").exists()
    assert together(answer, 2) == [0, 0]
    same(path, one)


@pytest.mark.process
def test_one_that_comes_late(answer: Answer, tmp_path: Path) -> None:
    """A process that begins when all is done changes nothing."""
    assert ended([start(answer, 0, 2)]) == [0]
    path = folder_of(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in path.iterdir()}
    assert ended([start(answer, 1, 2)]) == [0]
    assert {p: p.stat().st_mtime_ns for p in path.iterdir()} == before


@pytest.mark.process
@pytest.mark.slow
def test_failed_samples(answer: Answer, questions: Path, tmp_path: Path) -> None:
    """A corrupt picture is one error row whoever meets it, and is tried again by the next run."""
    line = json.loads((questions / "test.jsonl").read_text().splitlines()[5])
    picture = questions / line["image"]
    good = picture.read_bytes()
    picture.write_bytes(b"no picture")
    (tmp_path / "one").mkdir()
    one = answer("one", questions)
    assert together(lambda: answer("runs", questions), 3) == [0, 0, 0]
    path = folder_of(tmp_path)
    same(path, one)
    assert record(path)["counts"]["failed"] == 1
    assert record(path)["status"] == "partial"
    picture.write_bytes(good)
    # With a good picture it is other data, and refused: by all of them.
    assert together(lambda: answer("runs", questions), 2) == [2, 2]
    same(path, one)


@pytest.mark.process
def test_another_launch_is_refused(answer: Answer, tmp_path: Path) -> None:
    """While process 1 is at work no other process 1 is; nor does one process that runs alone."""
    path = folder_of(tmp_path)
    process = start(answer, 1, 2)
    until(path / "shards" / "0001", 3, process)
    os.kill(process.pid or 0, signal.SIGSTOP)
    assert ended([start(answer, 1, 2)]) == [2]
    with pytest.raises(InUse, match="Another process is writing"):
        answer()
    with pytest.raises(InUse):
        answer(fresh=True)
    os.kill(process.pid or 0, signal.SIGCONT)
    assert ended([process]) == [0]
    assert record(path)["counts"]["done"] == 64


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.process
def test_a_forked_process_does_not_hold_a_run(tmp_path: Path, shared: bool) -> None:
    """When its parent was killed the run is free at once, though the child lives on."""
    folder = RunFolder(tmp_path / "run")
    ours, theirs = os.pipe()
    parent = os.fork()
    if not parent:
        with folder.locked(shared=shared):
            if not os.fork():
                os.close(theirs)
                os.read(ours, 1)  # until the test lets go of the other end
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
    try:
        os.waitpid(parent, 0)
        with folder.locked():
            pass
    finally:
        os.close(theirs)
        os.close(ours)


@pytest.mark.process
def test_fresh_moves_the_old_run_aside_once(answer: Answer, tmp_path: Path) -> None:
    """Of all processes of a launch the first one there does it."""
    answer(limit=5)
    assert together(lambda: answer(fresh=True), 3) == [0, 0, 0]
    path = folder_of(tmp_path)
    (aside,) = [p for p in path.parent.iterdir() if p.name.startswith("test.")]
    assert (len(rows(aside)), len(rows(path))) == (5, 64)


def test_fresh_on_several_machines(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody there knows who is first; it is refused before anything is moved."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HarnessError, match="several machines"):
        answer(fresh=True)


@pytest.mark.process
@pytest.mark.slow
def test_gathering_may_be_cut(answer: Answer, one: Path, tmp_path: Path) -> None:
    """Killed when all is gathered and the shards are still there: they are not counted twice."""
    path = folder_of(tmp_path)
    process = start(answer, 1, 2)
    until(path / "shards" / "0001", 3, process)
    process.kill()
    ended([process])
    shutil.copytree(path / "shards", tmp_path / "shards")
    run = RunFolder(path)
    assert shards.gather(run)
    first = (path / "run.json").read_bytes(), (path / "predictions.jsonl").read_bytes()
    assert not shards.gather(run)
    shutil.copytree(tmp_path / "shards", path / "shards")
    assert shards.gather(run)
    assert ((path / "run.json").read_bytes(), (path / "predictions.jsonl").read_bytes()) == first
    answer()
    same(path, one)


def test_a_shard_of_another_run(answer: Answer, tmp_path: Path) -> None:
    """What was made with something else is never mixed in; the field that differs is named."""
    path = answer(limit=4)
    other = answer("other", limit=4)
    (path / "shards").mkdir()
    shutil.copytree(other, path / "shards" / "0000")
    changed = record(path / "shards" / "0000")
    changed["fingerprint"]["prompt"] = "sha256:0"
    (path / "shards" / "0000" / "run.json").write_text(json.dumps(changed))
    with pytest.raises(HarnessError, match=": prompt"):
        answer()


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, Place()),
        (
            {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"},
            Place(rank=3, processes=4, local_rank=1, launched=True),
        ),
        ({"RANK": "0", "WORLD_SIZE": "1"}, Place(launched=True)),
        ({"WORLD_SIZE": "4"}, None),
        ({"RANK": "4", "WORLD_SIZE": "4"}, None),
        ({"RANK": "x", "WORLD_SIZE": "4"}, None),
    ],
    ids=str,
)
def test_which_process_this_is(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], place: Place | None
) -> None:
    """What torchrun and accelerate launch say; what contradicts itself is told."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if place is not None:
        assert here() == place
        return
    with pytest.raises(HarnessError, match="does not define which"):
        here()


def test_each_process_has_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for all of them is refused."""
    assert own_device("cuda:1") == "cuda:1"
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert own_device("cuda") == "cuda:1"
    assert own_device("cpu") == "cpu"
    with pytest.raises(HarnessError, match="--device cuda:0"):
        own_device("cuda:0")


@pytest.mark.slow
@pytest.mark.process
def test_the_documented_commands(tiny, drawn: Path, tmp_path: Path, answer: Answer) -> None:
    """torchrun, whose other process is killed with -9, then accelerate launch, which goes on: one
    answer on stdout, by the first process."""
    arguments = [
        *("eval", "--model", tiny("llava"), "--name", "m", "--task", "scienceqa", "--data", drawn),
        *("--runs", tmp_path / "runs", "--max-new-tokens", 24, "--batch-size", 3),
        *("--device", "cpu", "--json"),
    ]

    def launch(*launcher: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [BIN / launcher[0], *launcher[1:], BIN / "harness", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    path = folder_of(tmp_path)
    run = launch("torchrun", "--no-python", "--nproc-per-node", "2")
    shards = [path / "shards" / rank for rank in ("0000", "0001")]
    while sum(len(lines(shard)) for shard in shards) < 3 and run.poll() is None:
        time.sleep(0.01)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    ranks = {rank_of(int(child)): int(child) for child in children}
    os.kill(ranks["1"], signal.SIGKILL)
    out, _ = run.communicate(timeout=600)
    assert run.returncode == 1
    assert not out
    again = launch("accelerate", "launch", "--multi_gpu", "--no_python", "--num_processes", "2")
    out, err = again.communicate(timeout=600)
    assert again.returncode == 0, err
    (document,) = json.loads(out)["runs"]
    assert document["status"] == "complete"
    same(path, answer("one", max_new_tokens=24))


def rank_of(pid: int) -> str:
    """RANK in the environment of a process."""
    pairs = (
        pair.partition(b"=") for pair in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    )
    return {name.decode(): value.decode() for name, _, value in pairs}.get("RANK", "")
