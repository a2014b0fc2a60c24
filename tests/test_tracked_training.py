"""`harness distill --track`: the training of a student, and its evaluation, as a tracker keeps them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill.config import DistillConfig, preset
from distill.examples import Example
from distill.training import checkpointing, tracked
from distill.training.train import train
from harness.core.structured import Rationale
from harness.core.tracking_options import TrackingOptions
from harness.core.types import DataOptions
from harness.tracking.tracker import TrackedRun
from harness.tracking.trackers import TRACKING_RECORD, Trackers
from tasks.scienceqa import load as load_questions
from tests.events import scalars, tensorboard_run, tensorboard_text

pytest.importorskip("tensorboard", reason="tensorboard is not installed")

CONFIG = preset("paper", precision="float32", learning_rate=1e-3, batch_size=4, checkpoint_every=2)


def lines(out: Path) -> list[dict[str, Any]]:
    text = (out / "training_log.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def teach(tiny: Callable[..., Path], drawn: Path, tmp_path: Path) -> Callable[..., Path]:
    """`teach("NAME", tracked=True)` trains on twelve drawn questions, in three steps."""
    samples = load_questions(DataOptions(path=drawn)).samples[::5][:12]
    examples = [Example(s, Rationale("Look.", "A picture.", s.solution, "A")) for s in samples]

    def go(name: str, *, tracked_by: tuple[str, ...], config: DistillConfig = CONFIG) -> Path:
        out = tmp_path / name
        run = TrackedRun(
            options=TrackingOptions(trackers=tracked_by, samples=2),
            task="scienceqa",
            name=name,
            axis=tracked.AXIS,
            home=out,
            runs=tmp_path / "runs",
        )
        return train(
            examples,
            base=tiny("moondream"),
            out=out,
            config=config,
            features=tmp_path / "features",
            trackers=Trackers(run),
        )

    return go


def events_of(runs: Path, task: str = "scienceqa") -> dict[str, Any]:
    """Name of the tracked run, without its id -> what TensorBoard reads of it."""
    folders = (runs / "tracking" / "tensorboard" / task).iterdir()
    return {folder.name[:-9]: tensorboard_run(folder) for folder in folders}


def test_every_step_is_tracked_and_nothing_else_changes(
    teach: Callable[..., Path], tmp_path: Path
) -> None:
    """Loss, learning rate and gradient norm are those of the log, and those of an untracked
    training; the first examples are there with what is learned of them."""
    teach("kd", tracked_by=("tensorboard",))
    teach("alone", tracked_by=())
    log = lines(tmp_path / "kd")
    events = events_of(tmp_path / "runs")["kd"]
    for name, key in (("loss", "loss"), ("learning_rate", "lr"), ("grad_norm", "grad_norm")):
        found = dict(scalars(events, f"train/{name}"))
        assert found == pytest.approx({line["step"]: line[key] for line in log})
        assert [line[key] for line in lines(tmp_path / "alone")] == [line[key] for line in log]
    assert all(speed > 0 for _, speed in scalars(events, "train/tokens_per_second"))
    assert "| training.learning&#95;rate | 0.001 |" in tensorboard_text(events, "configuration")
    assert len(tensorboard_text(events, "examples").splitlines()) == 2 + 2
    assert "&#60;SUMMARY&#62; Look." in tensorboard_text(events, "examples")
    assert events.Images("examples/001")
    assert not (tmp_path / "alone" / TRACKING_RECORD).exists()


def test_a_training_that_is_resumed_goes_on_in_the_same_tracked_run(
    teach: Callable[..., Path], tmp_path: Path
) -> None:
    """As if killed after its third step: each step is there once."""
    teach("kd", tracked_by=("tensorboard",))
    out = tmp_path / "kd"
    record = json.loads((out / "distill.json").read_text())
    (out / "distill.json").write_text(json.dumps({**record, "status": "running"}))
    shutil.rmtree(out / "student")
    shutil.rmtree(checkpointing.latest(out / "checkpoints"))
    teach("kd", tracked_by=("tensorboard",))
    (events,) = events_of(tmp_path / "runs").values()
    assert [step for step, _ in scalars(events, "train/loss")] == [1, 2, 3]
    assert events.Images("examples/000")


@pytest.mark.slow
def test_a_distillation_tracks_training_and_evaluation(
    command: Callable[..., Any], tiny: Callable[..., Path], drawn: Path, tmp_path: Path
) -> None:
    """Each in a run of its own, in one project; the option is in the records' configuration."""
    shutil.copytree(drawn, tmp_path / "data")
    shutil.copy(drawn / "test.jsonl", tmp_path / "data" / "train.jsonl")
    arguments = ("distill", "--data", tmp_path / "data", "--limit", 4, "--target", "answer")
    arguments += ("--base-weights", tiny("moondream"), "--batch-size", 4, "--precision", "float32")
    arguments += ("--max-new-tokens", 4, "--test-limit", 2, "--no-baseline", "--json")
    arguments += ("--runs", tmp_path / "runs", "--out", tmp_path / "page.html")
    arguments += ("--track", "tensorboard", "--track-project", "students")
    dry = command(*arguments, "--dry-run")
    assert dry.json["configuration"]["track"] == ["tensorboard"]
    result = command(*arguments)
    assert result.code == 0, result.stderr
    assert result.json["runs"][0]["configuration"]["track-project"] == "students"
    events = events_of(tmp_path / "runs", "students")
    assert set(events) == {"moondream-kd-training", "moondream-kd-test"}
    assert scalars(events["moondream-kd-training"], "train/loss")
    (step, _), *_ = scalars(events["moondream-kd-test"], "metrics/accuracy")
    assert step == 2


@pytest.mark.parametrize("stage", [(), ("train",)])
def test_a_missing_package_is_told_before_anything_is_loaded(
    stage: tuple[str, ...],
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tiny: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """By the whole distillation, and by its training alone."""
    monkeypatch.setattr("harness.tracking.registry.find_spec", lambda package: None)
    arguments = ("--track", "wandb", "--base-weights", tiny("moondream"))
    result = command("distill", *stage, *arguments, "--runs", tmp_path / "runs")
    assert result.code == 2
    assert "pip install 'harness-vlm[wandb]'" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_stages_that_are_not_tracked_do_not_take_the_option(command: Callable[..., Any]) -> None:
    """An option that would do nothing is no option."""
    result = command("distill", "rationales", "--track", "wandb")
    assert result.code == 2
    assert "No such option" in result.stderr
