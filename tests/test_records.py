"""The run folder on disk: nothing lost, nothing double, nothing half."""

from __future__ import annotations

import json
import math
import multiprocessing
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import DataError, Exit, HarnessError
from harness.core.files.atomic import write_atomically
from harness.core.files.paths import safe_name
from harness.core.types import Prediction, Value
from harness.run.folder import RunFolder, find_runs, read_runs
from harness.run.records import (
    Counts,
    MetricInfo,
    ModelInfo,
    RunRecord,
    TaskInfo,
)

PREDICTION = Prediction(
    sample_id="7",
    raw="The answer is B\u2028 \x00 \u202e \U0001f40b",
    answer=1,
    rule="answer phrase",
    scores={"accuracy": 1.0},
    target=1,
    question="Which?",
    choices=("x", "y"),
    topic="physics",
    images=("ab" * 32,),
    prompt="USER: Which?",
    seconds=0.25,
    preprocess_seconds=0.05,
    tokens=5,
    tokens_in=40,
)
RECORD = RunRecord(
    task=TaskInfo(name="scienceqa", title="ScienceQA", split="test"),
    model=ModelInfo(name="m", title="M", size="2B", parameters=5),
    fingerprint={"weights": "sha256:1", "decoding": {"max_new_tokens": 4}},
    counts=Counts(total=3, filtered={"no image": 1}, available=2, done=2, failed=1),
    metrics={"accuracy": Value(value=0.5, n=2, low=0.1, high=0.9)},
    metric_info={"accuracy": MetricInfo(title="Accuracy", unit="%", scope="sample")},
    sessions=[{"device": "cpu"}],
    command=["harness", "eval"],
)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder.of(tmp_path, task="t", model="m", split="test")
    run.path.mkdir(parents=True)
    return run


def rows(*ids: int) -> list[Prediction]:
    return [replace(PREDICTION, sample_id=str(i)) for i in ids]


def test_what_is_written_is_read_back(folder: RunFolder) -> None:
    """Predictions and record come back equal, whatever characters are in them."""
    lone_surrogate = replace(PREDICTION, sample_id="8", raw="\ud800 half a pair")
    with folder.locked():
        folder.append([PREDICTION])
        folder.append([lone_surrogate])
        folder.write_record(RECORD)
    assert folder.read_predictions() == [PREDICTION, lone_surrogate]
    assert folder.read_record() == RECORD


def test_every_line_is_one_json_object(folder: RunFolder) -> None:
    """Line separators inside an answer do not make lines, and NaN becomes null."""
    with folder.locked():
        folder.append([replace(PREDICTION, seconds=math.nan), PREDICTION])
    lines = folder.predictions_path.read_bytes().split(b"\n")
    assert len(lines) == 3
    assert json.loads(lines[0])["seconds"] is None
    assert json.loads(lines[1])["raw"] == PREDICTION.raw


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_cut_last_line_is_dropped_and_overwritten(folder: RunFolder, cut: int) -> None:
    """A crash in the middle of a line loses that line only, and the next append begins cleanly."""
    with folder.locked():
        folder.append(rows(1, 2))
    whole = folder.predictions_path.read_bytes()
    folder.predictions_path.write_bytes(whole[:-cut])
    assert folder.read_predictions() == rows(1)
    with folder.locked():
        folder.append(rows(2, 3))
    assert folder.read_predictions() == rows(1, 2, 3)


def test_a_broken_line_in_the_middle_is_named(folder: RunFolder) -> None:
    """What no crash can do is an error with the file and the line."""
    with folder.locked():
        folder.append(rows(1, 2))
    first, second, _ = folder.predictions_path.read_bytes().split(b"\n")
    folder.predictions_path.write_bytes(first + b"\n{broken}\n" + second + b"\n")
    with pytest.raises(DataError, match="line 2 is not a prediction"):
        folder.read_predictions()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"format": 1}', '{"format": "x"}', '{"format": 99}', "\xff"],
)
def test_a_broken_record_is_named(folder: RunFolder, text: str) -> None:
    """A run.json that is none is told as such, with its path."""
    folder.record_path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"run\.json"):
        folder.read_record()


def test_a_renamed_field_of_an_older_record_is_read(folder: RunFolder) -> None:
    """Records called the model's family its adapter."""
    folder.write_record(RECORD)
    path = folder.path / "run.json"
    data = json.loads(path.read_text())
    data["model"].pop("family")
    data["model"]["adapter"] = "phi3v"
    path.write_text(json.dumps(data))
    record = folder.read_record()
    assert record is not None
    assert record.model.family == "phi3v"


def test_unknown_fields_of_a_record_are_left_alone(folder: RunFolder) -> None:
    """A record with fields that a later version added still reads."""
    data = {**RECORD.to_json(), "later": 1}
    data["model"]["later"] = 2
    folder.record_path.write_text(json.dumps(data))
    assert folder.read_record() == RECORD


def _hold(path: Path, ready: multiprocessing.Event, leave: multiprocessing.Event) -> None:
    with RunFolder(path).locked():
        ready.set()
        leave.wait(60)


@pytest.mark.process
def test_a_second_writer_is_refused_until_the_first_is_gone(folder: RunFolder) -> None:
    """The lock belongs to the process: it is refused to others, and free when that one is killed."""
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(folder.path, ready, leave))
    process.start()
    assert ready.wait(60)
    with pytest.raises(HarnessError, match="Another process"), folder.locked():
        pass
    process.kill()
    process.join()
    with folder.locked():
        pass


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """A record is replaced at once or not at all, and nothing is left beside it."""
    path = tmp_path / "run.json"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, None)  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_moving_aside_keeps_everything(folder: RunFolder, tmp_path: Path) -> None:
    """--fresh renames, never deletes; what was moved is no run any more."""
    with folder.locked():
        folder.append(rows(1))
        folder.write_record(RECORD)
    assert [run.path for run in find_runs(tmp_path)] == [folder.path]
    aside = folder.move_aside()
    assert aside is not None
    assert RunFolder(aside).read_predictions() == rows(1)
    assert RunFolder(aside).read_record() == RECORD
    assert folder.read_predictions() == []
    assert find_runs(tmp_path) == []
    assert read_runs(tmp_path) == ([], [])
    assert folder.move_aside() is None


def test_answers_without_a_record_are_told(folder: RunFolder, tmp_path: Path) -> None:
    """A page or a list says that they are there, and that nothing says what they are of."""
    with folder.locked():
        folder.append(rows(1))
        folder.write_record(RECORD)
    folder.record_path.unlink()
    found, (error,) = read_runs(tmp_path)
    assert found == []
    assert f"{folder.path} has predictions but no run.json" in str(error)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("phi-3.5", "phi-3.5"),
        ("org--repo", "org--repo"),
        ("model+paper-base", "model+paper-base"),
        ("\u6a21\u578b\u4e00", "\u6a21\u578b\u4e00"),
        ("\u092e\u0949\u0921\u0932", "\u092e\u0949\u0921\u0932"),
        ("e\u0301t\u00e9", "\u00e9t\u00e9"),
    ],
)
def test_a_name_is_kept_in_every_script(label: str, name: str) -> None:
    """Marks, which Indic scripts need, belong to it."""
    assert safe_name(label) == name


@pytest.mark.parametrize(
    ("label", "start"),
    [
        ("../../etc", "etc-"),
        ("a/b\\c", "a-b-c-"),
        ("..", "unnamed-"),
        ("", "unnamed-"),
        (".hidden", "hidden-"),
        ("\u202emodel\n<b>", "model-b-"),
        ("\U0001f40b", "unnamed-"),
        ("openai:phi", "openai-phi-"),
        ("model-0123abcd", "model-0123abcd-"),
        ("x" * 300, "x" * 100 + "-"),
        ("\u6a21" * 80, "\u6a21" * 33 + "-"),
        ("\udc80", "unnamed-"),
    ],
)
def test_no_label_makes_a_path(label: str, start: str) -> None:
    """A run's folder stays under --runs, whatever a model is called; what is changed of a name is
    made up for by a hash."""
    assert re.fullmatch(re.escape(start) + "[0-9a-f]{8}", safe_name(label))


def test_two_labels_never_share_a_name() -> None:
    """Also where they differ only in what a folder's name cannot have."""
    labels = [
        "a b",
        "a-b",
        "a/b",
        "a:b",
        "-a-b",
        "a-b.",
        "..",
        "",
        "\u6a21 \u578b",
        "\u6a21-\u578b",
    ]
    labels += [safe_name(label) for label in labels] + ["x" * number for number in range(95, 130)]
    assert len({safe_name(label) for label in set(labels)}) == len(set(labels))


def test_a_run_keeps_the_folder_that_an_older_version_gave_it(tmp_path: Path) -> None:
    """Unless it is another model's, whose name it shared."""
    old = RunFolder(tmp_path / "t" / "org-m" / "test")
    old.path.mkdir(parents=True)
    task = replace(RECORD.task, name="t")
    old.write_record(replace(RECORD, task=task, model=replace(RECORD.model, name="org m")))
    assert RunFolder.of(tmp_path, task="t", model="org m", split="test").path == old.path
    other = RunFolder.of(tmp_path, task="t", model="org:m", split="test")
    assert other.path == tmp_path / "t" / safe_name("org:m") / "test"


def test_exit_codes_are_the_documented_ones() -> None:
    """Scripts rely on these numbers."""
    assert [int(code) for code in Exit] == [0, 1, 2, 3, 4, 5, 130]
