"""The files of a run are removed, renamed or replaced while it is at work; --fresh until there is a
first answer."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest

TASK = """
import logging, os, shutil
from dataclasses import replace
from pathlib import Path
from harness.core.errors import SampleError
from tasks.scienceqa import TASK as SCIENCEQA

asked = []

class Start(logging.Handler):
    seen = False

    def emit(self, record):
        self.seen |= "warming up" in record.getMessage()  # until then, prompts are only hashed

start = Start()
logging.getLogger("harness.run.answering").addHandler(start)

def prompt(sample, style):
    if start.seen:
        asked.append(sample.id)
        act(False)
    return SCIENCEQA.prompt(sample, style)

def metric(predictions):
    act(True)
    return {}

def act(late):
    RUN = Path(os.environ["RUN"])
    ANSWERS = RUN / "predictions.jsonl"
    if eval(os.environ["WHEN"]):
        exec(os.environ["HOW"])

TASK = replace(SCIENCEQA, name="mine", prompt=prompt, metrics=(*SCIENCEQA.metrics, metric))
"""
LATE = "late"
SPOIL = {
    "removed": "ANSWERS.unlink()",
    "renamed": "ANSWERS.rename(RUN / 'old')",
    "the folder renamed": "RUN.rename(RUN.parent / 'elsewhere')",
    "the folder removed": "shutil.rmtree(RUN)",
    "replaced": "shutil.copy(ANSWERS, RUN / 'copy'); (RUN / 'copy').replace(ANSWERS)",
    "written to": "ANSWERS.open('a').write('{}')",
    "cut": "os.truncate(ANSWERS, 5)",
    "removed, and interrupted": "ANSWERS.unlink(); os.kill(os.getpid(), 2)",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "mine" / "model" / "test"


@pytest.fixture
def run(command, tiny, drawn: Path, tmp_path: Path, *, folder: Path, monkeypatch):
    """`run(when, how, *more)` asks a tiny model, and does `how` at some prompts, or at its end."""
    shutil.copytree(tiny("llava"), tmp_path / "model")

    def start(when: str = "False", how: str = "pass", *more: object):
        for name, value in (("WHEN", when), ("HOW", how), ("RUN", str(folder))):
            monkeypatch.setenv(name, value)
        (tmp_path / "mine.py").write_text(TASK)
        return command(
            *("eval", "--model", tmp_path / "model", "--task", tmp_path / "mine.py"),
            *("--data", drawn, "--runs", tmp_path / "runs", "--device", "cpu", "--limit", 20),
            *("--mode", "loglikelihood", "--batch-size", 4, *more),
        )

    return start


def ids(path: Path) -> list[str]:
    return [json.loads(line)["sample_id"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("how", SPOIL, ids=str)
def test_answers_that_are_gone_end_the_run(run, folder: Path, how: str) -> None:
    """Before the next answer is written: the file is named, exit 1, the answers are in a file of
    their own, and what is there instead is left alone."""
    result = run("len(asked) == 11 and not late", SPOIL[how])
    assert result.code == 1
    told = " ".join(result.stderr.split())
    assert f"{folder / 'predictions.jsonl'} was changed while this run used it" in told
    (saved,) = folder.glob("predictions.rescued-*.jsonl")
    assert str(saved) in told
    assert len(ids(saved)) >= 4
    if how == "written to":
        assert (folder / "predictions.jsonl").read_text().endswith("{}")


@pytest.mark.parametrize("when", ["len(asked) == 24 and not late", LATE])
def test_the_end_looks_once_more(run, folder: Path, when: str) -> None:
    """A score is not written beside answers that are not there."""
    result = run(when, "ANSWERS.unlink()")
    assert result.code == 1
    assert json.loads((folder / "run.json").read_text())["status"] == "running"
    (saved,) = folder.glob("predictions.rescued-*.jsonl")
    assert len(ids(saved)) == 20


def test_the_same_command_goes_on_with_what_was_rescued(run, folder: Path) -> None:
    """Once it is called predictions.jsonl again, nothing is asked twice."""
    assert run("len(asked) == 13 and not late", "ANSWERS.unlink()").code == 1
    (saved,) = folder.glob("predictions.rescued-*.jsonl")
    answered = len(ids(saved))
    saved.rename(folder / "predictions.jsonl")
    assert run().code == 0
    assert len(ids(folder / "predictions.jsonl")) == 20
    sessions = json.loads((folder / "run.json").read_text())["sessions"]
    assert [session["samples"] for session in sessions] == [answered, 20 - answered]


def test_earlier_answers_are_watched_from_the_start(run, folder: Path) -> None:
    """Removed while the model is loaded, by which nothing new has been written."""
    assert run("False", "pass", "--limit", 8).code == 0
    assert run("len(asked) == 1 and not late", "ANSWERS.unlink()").code == 1
    (saved,) = folder.glob("predictions.rescued-*.jsonl")
    assert len(ids(saved)) >= 8


def spoil(model: Path) -> None:
    """All that the model gives is NaN."""
    file = model / "model.safetensors"
    data = bytearray(file.read_bytes())
    (length,) = struct.unpack("<Q", data[:8])
    for name, about in json.loads(data[8 : 8 + length]).items():
        if "lm_head" in name:
            start, end = (8 + length + offset for offset in about["data_offsets"])
            data[start:end] = struct.pack("<f", float("nan")) * ((end - start) // 4)
    file.write_bytes(data)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


NO_PICTURE = "raise SampleError('no picture')"


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        (("False", "no weights"), 3, "cannot be loaded"),
        (("False", "only NaN"), 4, "None of 20 questions could be answered"),
        (("not late", NO_PICTURE), 4, "None of 20 questions could be answered"),
        (("len(asked) == 2 and not late", "os.kill(os.getpid(), 2)"), 130, ""),
    ],
    ids=["no weights", "only NaN", "no pictures", "interrupted"],
)
def test_a_fresh_run_without_an_answer_leaves_the_old_one(
    run, folder: Path, tmp_path: Path, *, how, code: int, said: str
) -> None:
    """The good run stays where it was, byte for byte."""
    assert run().code == 0
    before = snapshot(folder)
    when, act = how
    if act == "no weights":
        (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    elif act == "only NaN":
        spoil(tmp_path / "model")
    result = run(when, act if when != "False" else "pass", "--fresh")
    assert result.code == code, result.stderr
    assert said in result.stderr
    assert snapshot(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["test"]


def test_a_fresh_run_moves_the_old_one_at_its_first_answer(run, folder: Path) -> None:
    """Errors before it are kept, and nothing of the old run is mixed in."""
    assert run().code == 0
    before = snapshot(folder)
    result = run("len(asked) < 14 and not late", NO_PICTURE, "--fresh")
    assert result.code == 4
    (aside,) = (path for path in folder.parent.iterdir() if path != folder)
    kept = snapshot(aside)
    assert kept == {name: before[name] for name in kept}
    assert set(kept) == {"run.json", "predictions.jsonl", "status.json"}
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 20
    assert 0 < sum(row["error"] is None for row in rows) < 20
    (session,) = json.loads((folder / "run.json").read_text())["sessions"]
    assert session["samples"] == 20


def test_fresh_where_there_is_no_run_is_as_without_it(run, folder: Path) -> None:
    """Error rows alone are a run of their own."""
    assert run("not late", NO_PICTURE, "--fresh").code == 4
    assert len(ids(folder / "predictions.jsonl")) == 20


def test_score_fresh_moves_the_old_run_when_the_new_one_is_scored(command, tmp_path: Path) -> None:
    """A metric that cannot be computed leaves it where it was."""
    (tmp_path / "mine.py").write_text(TASK.replace("act(True)", "1 / int(os.environ['BY'])"))
    row = {"id": "1", "raw": "A", "choices": ["x", "y"], "target": 0}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    arguments = ("score", tmp_path / "a.jsonl", "--task", tmp_path / "mine.py", "--runs", tmp_path)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BY", "1")
        assert command(*arguments).code == 0
        before = snapshot(tmp_path / "mine" / "a" / "test")
        environment.setenv("BY", "0")
        assert command(*arguments, "--fresh").code != 0
    assert snapshot(tmp_path / "mine" / "a" / "test") == before
    assert [path.name for path in (tmp_path / "mine" / "a").iterdir()] == ["test"]
