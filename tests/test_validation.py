"""Evaluation while a student trains: which questions it is on, what is logged, which student is
kept, and that an interrupted run chooses the same one."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from distill.config import DistillConfig, preset
from distill.examples import Example
from distill.questions import Questions
from distill.training.answering import predictions
from distill.training.tracked import AXIS
from distill.training.train import train
from distill.training.validation import Validation, with_validation
from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import DataError, HarnessError
from harness.core.tracking_options import TrackerName, TrackingOptions
from harness.core.types import DataOptions
from harness.models.loading import LoadOptions, load
from harness.run.task_data import Data
from harness.tracking.tracker import TrackedRun
from harness.tracking.trackers import Trackers
from tasks import load_task
from tasks.scienceqa import TASK
from tests.events import scalars, tensorboard_run, tensorboard_text

CONFIG = preset(
    "paper",
    objective="answer",
    precision="float32",
    learning_rate=1e-3,
    batch_size=4,
    checkpoint_every=2,
    eval_every=2,
    max_new_tokens=8,
)
FLOAT32 = LoadOptions(device="cpu", dtype="float32")
STUDENT = Path("student") / "model.safetensors"


@pytest.fixture(scope="module")
def questions(drawn: Path) -> list[Example]:
    """Questions to learn, and the last four to evaluate on."""
    samples = TASK.load(DataOptions(path=drawn)).samples[::3]
    return [Example(sample, None) for sample in samples[:21]]


@pytest.fixture(scope="module")
def run(tiny, questions: list[Example], tmp_path_factory) -> Callable[..., Path]:
    """`run(out)` trains for four steps, and evaluates after two of them and at the end."""
    features = tmp_path_factory.mktemp("features")

    def go(out: Path, config: DistillConfig = CONFIG, **more: Any) -> Path:
        validation = Validation(examples=questions[-4:]) if config.eval_every else None
        given = {"validation": validation, "base": tiny("moondream"), "features": features}
        return train(questions[:14], out=out, config=config, **{**given, **more})

    return go


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory) -> Path:
    """A run that nothing disturbed; it is tracked, where TensorBoard is installed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    names: tuple[TrackerName, ...] = ("tensorboard",) if find_spec("tensorboard") else ()
    options = TrackingOptions(trackers=names, samples=2)
    about = {"task": "scienceqa", "name": "kd", "axis": AXIS, "home": out, "runs": out.parent}
    run(out, trackers=Trackers(TrackedRun(options=options, **about)))
    return out


def lines(out: Path) -> list[dict[str, Any]]:
    """The evaluations, without what differs from run to run."""
    found = [json.loads(line) for line in (out / "validation_log.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if k not in {"seconds", "memory", "tokens_per_second"}}
        for line in found
    ]


def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "distill.json").read_text())
    return found


def same_student(out: Path, expected: Path) -> None:
    found, wanted = load_file(out / STUDENT), load_file(expected / STUDENT)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_an_evaluation_is_that_of_the_student(
    whole: Path, run, questions: list[Example], tmp_path: Path
) -> None:
    """After every second step, and after the last: its answers are those of the exported student;
    training is the same without it."""
    assert [line["step"] for line in lines(whole)] == [2, 4]
    validation = record(whole)["validation"]
    best = validation["best"]["step"]
    chosen = next(line for line in lines(whole) if line["step"] == best)
    student = load(find_checkpoint(str(whole / "student")), FLOAT32)
    samples = [example.sample for example in questions[-4:]]
    found = predictions(student, samples, TASK, style="direct", max_new_tokens=8)
    assert [each["raw"] for each in chosen["answers"]] == [p.raw for p in found[:3]]
    right = sum(bool(p.correct) for p in found)
    assert chosen["score"] == chosen["scores"]["accuracy"] == right / 4
    assert chosen["without_pictures"]["loss"] != chosen["loss"]
    assert chosen["sight"]["questions"] == 4
    run(tmp_path / "alone", replace(CONFIG, eval_every=None))
    curves = [
        [json.loads(line)["loss"] for line in (out / "training_log.jsonl").read_text().splitlines()]
        for out in (whole, tmp_path / "alone")
    ]
    assert curves[0] == curves[1]
    assert not (tmp_path / "alone" / "best").exists()


def test_an_evaluation_is_tracked_and_drawn(whole: Path) -> None:
    """Scores and losses by step, with the pictures and with grey ones, and a table of answers; the
    picture of the training has the kept student, and what each step cost."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    (folder,) = (whole.parent / "tracking" / "tensorboard" / "scienceqa").iterdir()
    events = tensorboard_run(folder)
    found = lines(whole)
    for name, of in (
        ("", lambda line: line),
        ("_without_pictures", lambda l: l["without_pictures"]),
    ):
        losses = {line["step"]: of(line)["loss"] for line in found}
        assert dict(scalars(events, f"validation/loss{name}")) == pytest.approx(losses)
        scores = {line["step"]: of(line)["score"] for line in found}
        assert dict(scalars(events, f"validation/accuracy{name}")) == pytest.approx(scores)
    assert len(tensorboard_text(events, "validation").splitlines()) == 2 + 2
    drawn = (whole / "loss.svg").read_text()
    ET.fromstring(drawn)
    assert f"kept: step {record(whole)['validation']['best']['step']}<" in drawn
    for title in ("Gradient norm", "Tokens per second", "Peak memory (GB)"):
        assert f">{title}, at most " in drawn


def test_the_best_student_is_exported_and_named(
    run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At a rate at which it gets worse, the student is the earlier one; record and card say so,
    and patience ends training. Each evaluation is printed with some answers."""
    caplog.set_level("INFO", "distill.training.evaluations")
    out = tmp_path / "worse"
    worse = {"learning_rate": 0.5, "eval_every": 1, "eval_patience": 2, "best_by": "loss"}
    run(out, replace(CONFIG, epochs=4, **worse))
    losses = [line["loss"] for line in lines(out)]
    best = losses.index(min(losses)) + 1
    printed = caplog.messages[:4]
    assert re.match("Step 1, 4 validation questions: Accuracy .*% with grey pictures, ", printed[0])
    assert [text.startswith("  ") for text in printed[1:]] == [True, True, True]
    found = record(out)["validation"]
    assert found["best"]["step"] == best == len(losses) - 2
    assert found["stopped_early"]
    assert record(out)["steps"] == 16
    kept = load_file(out / "best" / f"step-{best:08}" / "model.safetensors")
    model: Any = load(find_checkpoint(str(out / "student")), FLOAT32)
    student = dict(model.network.named_parameters())
    assert all(torch.equal(student[name], tensor) for name, tensor in kept.items())
    card = (out / "student" / "README.md").read_text()
    assert f"The student is that of step {best} of 16, the best of {len(losses)} eval" in card
    assert f"Training ended early, after step {len(losses)}." in card
    assert "4 questions held out of the training questions" in card


@pytest.mark.parametrize("rank", [pytest.param(None, marks=pytest.mark.slow), 4])
@pytest.mark.process
def test_killed_and_resumed(run, tmp_path: Path, rank: int | None) -> None:
    """Killed within an evaluation, after a better student was written: the same evaluations, the
    same choice, the same student, for LoRA too."""
    config = replace(CONFIG, lora_rank=rank, eval_every=1)
    run(tmp_path / "whole", config)
    out = tmp_path / "killed"

    def work() -> None:
        opened = []

        def die(event: str, arguments: tuple[object, ...]) -> None:
            if event == "open" and str(arguments[0]).endswith("validation_log.jsonl"):
                opened.append(event)
                if len(opened) == 5:  # twice to rewind
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(die)
        run(out, config)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(lines(out)) == 2
    assert (out / "best" / "step-00000003").is_dir()
    run(out, config)
    assert lines(out) == lines(tmp_path / "whole")
    assert record(out)["validation"] == record(tmp_path / "whole")["validation"]
    same_student(out, tmp_path / "whole")


def test_a_changed_choice_is_refused(whole: Path, run, questions: list[Example]) -> None:
    """Of other questions, or at other steps, another student may have been kept."""
    for changed in ({"config": replace(CONFIG, eval_every=1)}, {"config": CONFIG}):
        other = Validation(examples=questions[-5:-1])
        with pytest.raises(HarnessError, match=r"eval_every|validation"):
            run(whole, **changed, validation=other)
    with pytest.raises(HarnessError, match="eval_patience"):
        replace(CONFIG, eval_every=None, eval_patience=2)


def test_weights_of_the_best_that_are_gone(whole: Path, run, tmp_path: Path) -> None:
    """The error says what helps."""
    out = tmp_path / "gone"
    shutil.copytree(whole, out)
    (out / "distill.json").write_text(json.dumps({**record(out), "status": "running"}))
    shutil.rmtree(out / "best")
    with pytest.raises(DataError, match="Remove the checkpoints of later steps"):
        run(out)


@pytest.fixture
def asked(questions_folder: Path) -> Callable[..., Questions]:
    """`asked(split)`: the questions of a split."""
    return lambda split: Questions(
        data=Data(load_task("scienceqa"), DataOptions(path=questions_folder, split=split))
    )


@pytest.fixture
def questions_folder(drawn: Path, tmp_path: Path) -> Path:
    """A folder with a train and a test split."""
    folder = tmp_path / "questions"
    shutil.copytree(drawn, folder)
    rows = (folder / "test.jsonl").read_text().splitlines(keepends=True)
    (folder / "train.jsonl").write_text("".join(rows[:40]))
    (folder / "test.jsonl").write_text("".join(rows[40:]))
    return folder


def chosen(questions: Questions, **more: Any) -> tuple[list[str], Validation]:
    """Ids of the examples to learn, and what is evaluated on."""
    examples = [Example(sample, None) for sample in questions.selected()]
    config = replace(CONFIG, **{"eval_limit": 4, **more})
    learned, validation = with_validation(examples, questions, config, test_split="test")
    assert validation is not None
    return [example.sample.id for example in learned], validation


def test_held_out_questions_are_not_learned(asked, questions_folder: Path) -> None:
    """At most a tenth, the same each time; those about one picture stay together."""
    rows = [json.loads(row) for row in (questions_folder / "train.jsonl").read_text().splitlines()]
    rows[1]["image"] = rows[0]["image"]
    (questions_folder / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    for limit in (2, 4, 40):
        learned, validation = chosen(asked("train"), eval_limit=limit)
        held = [example.sample.id for example in validation.examples]
        assert validation.split is None
        assert len(held) == min(limit, 4)
        assert sorted([*learned, *held]) == sorted(row["id"] for row in rows)
        pair = {rows[0]["id"], rows[1]["id"]}
        assert pair <= set(learned) or pair <= set(held)
        again = chosen(asked("train"), eval_limit=limit)[1].examples
        assert [example.sample.id for example in again] == held
    one = [{**row, "image": rows[0]["image"]} for row in rows]
    (questions_folder / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in one))
    with pytest.raises(DataError, match="they are about one picture"):
        chosen(asked("train"))


def test_the_validation_split_is_taken_where_it_is_not_tested(
    asked, questions_folder: Path
) -> None:
    """All questions are learned then, and those that are learned are left out; a split that is
    tested chooses nothing."""
    rows = (questions_folder / "test.jsonl").read_text().splitlines(keepends=True)
    learned_too = (questions_folder / "train.jsonl").read_text().splitlines(keepends=True)[0]
    (questions_folder / "val.jsonl").write_text("".join([*rows[:3], learned_too]))
    learned, validation = chosen(asked("train"))
    assert validation.split == "validation"
    assert len(learned) == 40
    assert [e.sample.id for e in validation.examples] == [json.loads(row)["id"] for row in rows[:3]]
    learned, validation = chosen(asked("val"))
    assert validation.split is None
    examples = [Example(sample, None) for sample in asked("train").selected()]
    _, tested = with_validation(examples, asked("train"), CONFIG, test_split="val")
    assert tested is not None
    assert tested.split is None
