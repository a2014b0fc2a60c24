"""Training runs: they learn, they stop and go on, and they leave a whole student behind."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from distill.config import DistillConfig, preset
from distill.examples import Example
from distill.objectives.structured import Structured
from distill.training import checkpointing
from distill.training.card import Sources, fill_results
from distill.training.curve import loss_svg, smoothed
from distill.training.estimate import UTILISATION, estimate
from distill.training.schedule import learning_rate
from distill.training.student import Student
from distill.training.train import train
from harness.core.errors import DataError, HarnessError
from harness.core.images import ImageRef
from harness.core.interrupts import Interrupted, interrupts
from harness.core.progress import Lines
from harness.core.structured import Rationale
from harness.core.types import DataOptions
from tasks.scienceqa import TASK
from tasks.scienceqa import load as load_questions

FP32 = preset("paper", precision="float32", learning_rate=1e-3, batch_size=2, checkpoint_every=2)


@pytest.fixture(scope="module")
def examples(drawn: Path) -> list[Example]:
    """Six steps of two drawn questions, of all topics."""
    samples = load_questions(DataOptions(path=drawn)).samples
    return [
        Example(s, Rationale(s.question, f"A {s.topic} picture.", s.solution, "A"))
        for s in samples[::6]
    ][:11]


@pytest.fixture(scope="module")
def run(tiny, examples: list[Example], tmp_path_factory) -> Callable[..., Path]:
    """`run(out)` trains into the folder `out`; features are shared by all."""
    features = tmp_path_factory.mktemp("features")

    def go(out: Path, config: DistillConfig = FP32, some: Any = None, **more: Any) -> Path:
        more.setdefault("base", tiny("moondream"))
        more.setdefault("features", features)
        return train(some or examples, out=out, config=config, **more)

    return go


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory) -> Path:
    """A run that nothing disturbed: six steps."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    run(out)
    return out


def lines(out: Path) -> list[dict[str, Any]]:
    text = (out / "training_log.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "distill.json").read_text())
    return found


def same_curve(out: Path, whole: Path, count: int | None = None) -> None:
    """Every step once, with the same figures to 1e-6."""
    found, expected = lines(out), lines(whole)[:count]
    assert [line["step"] for line in found] == [line["step"] for line in expected]
    for line, other in zip(found, expected, strict=True):
        for name in ("loss", "lr", "grad_norm", "tokens", "target_tokens"):
            assert line[name] == pytest.approx(other[name], abs=1e-6)


def same_student(out: Path, whole: Path) -> None:
    found, expected = (load_file(f / "student" / "model.safetensors") for f in (out, whole))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.allclose(found[name], tensor, atol=1e-6), name


def in_a_process(work: Callable[[], object]) -> multiprocessing.Process:
    """Runs `work` in a process of its own, which begins with all that this one has loaded."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def test_one_batch_is_learned_by_heart(overfitted: Path) -> None:
    """The loss of a batch that is seen again and again falls below 0.05."""
    assert lines(overfitted)[-1]["loss"] < 0.05
    assert record(overfitted)["losses"]["last"] == lines(overfitted)[-1]["loss"]


@pytest.fixture(scope="module")
def overfitted(run, examples: list[Example], tmp_path_factory) -> Path:
    """A student that knows one batch by heart."""
    out = tmp_path_factory.mktemp("runs") / "overfitted"
    config = replace(FP32, epochs=40, learning_rate=1e-2, checkpoint_every=200)
    run(out, config, examples[:2], sources=Sources(base="Moon | base", teacher="T<script>"))
    return out


def test_the_student_answers_through_the_harness(
    overfitted: Path, examples: list[Example], drawn: Path, tmp_path: Path, command
) -> None:
    """The folder is evaluated as any other, and writes the rationales that it has learned."""
    wanted = {e.sample.id: e for e in examples[:2]}
    rows = [json.loads(line) for line in (drawn / "test.jsonl").read_text().splitlines()]
    kept = [{**row, "image": str(drawn / row["image"])} for row in rows if row["id"] in wanted]
    data = tmp_path / "questions"
    (data / "images").mkdir(parents=True)
    for row in kept:
        name = Path(row["image"]).name
        (data / "images" / name).write_bytes(Path(row["image"]).read_bytes())
        row["image"] = f"images/{name}"
    (data / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    result = command(
        *("eval", "--model", "moondream-kd", "--weights", overfitted / "student"),
        *("--task", "scienceqa", "--data", data, "--runs", tmp_path / "runs"),
        *("--max-new-tokens", 200, "--json"),
    )
    assert result.code == 0, result.stderr
    (summary,) = result.json["runs"]
    assert summary["metrics"]["accuracy"]["value"] == 1.0
    predictions = Path(summary["folder"]) / "predictions.jsonl"
    for line in predictions.read_text().splitlines():
        answer = json.loads(line)
        (target,) = Structured().targets(wanted[answer["sample_id"]])
        assert answer["raw"] == target.text


def test_the_folder_of_a_run(whole: Path, examples: list[Example]) -> None:
    """distill.json, the log, the curve, the student with its tokenizer, settings and card."""
    found = record(whole)
    assert found["status"] == "complete"
    assert found["steps"] == 6
    assert found["config"] == FP32.to_json()
    assert found["counts"]["used"] == len(examples)
    topics = [e.sample.topic for e in examples]
    assert found["counts"]["by_topic"] == {t: topics.count(t) for t in set(topics)}
    assert found["started"] <= found["finished"]
    assert set(lines(whole)[0]) == {
        *("step", "loss", "lr", "grad_norm", "tokens", "target_tokens", "seconds", "memory")
    }
    assert [line["lr"] for line in lines(whole)] == [learning_rate(n, 6, FP32) for n in range(1, 7)]
    assert {path.name for path in (whole / "student").iterdir()} == {
        *("config.json", "generation_config.json", "model.safetensors", "tokenizer.json"),
        *("tokenizer_config.json", "distill_config.json", "README.md", "loss.svg"),
        "training_log.jsonl",
    }
    config = json.loads((whole / "student" / "distill_config.json").read_text())
    assert DistillConfig.from_json(config) == FP32
    pickles = [p for p in whole.rglob("*") if p.suffix in {".pt", ".bin", ".pkl", ".pth"}]
    assert not pickles


def test_a_checkpoint_holds_what_the_next_step_needs(whole: Path) -> None:
    """Trained tensors, both moments of each, the generator, schedule and order; the newest two."""
    assert sorted(p.name for p in (whole / "checkpoints").iterdir()) == [
        "step-00000004",
        "step-00000006",
    ]
    snapshot = checkpointing.load(whole / "checkpoints" / "step-00000004")
    assert snapshot.step == 4
    assert snapshot.model
    assert not any("vision_tower" in name or "projector" in name for name in snapshot.model)
    for name, tensor in snapshot.model.items():
        kept = snapshot.optimizer[name]
        assert kept["exp_avg"].shape == kept["exp_avg_sq"].shape == tensor.shape
        assert kept["step"] == 4
    assert snapshot.random["cpu"].dtype == torch.uint8
    assert snapshot.state["schedule"] == {"steps": 6, "lr": learning_rate(4, 6, FP32)}
    assert snapshot.state["order"]["next_step"] == 5


def test_a_checkpoint_takes_numbers_and_bytes(tmp_path: Path) -> None:
    """As 8-bit Adam has them: what is no tensor goes through JSON, each type comes back."""
    adam = {"a.weight": {"step": 3, "state1": torch.tensor([1, 255], dtype=torch.uint8)}}
    snapshot = checkpointing.Snapshot(
        step=3, model={"a.weight": torch.ones(2)}, optimizer=adam, random={}, state={"order": {}}
    )
    for step in (1, 2, 3):
        path = checkpointing.save(tmp_path, replace(snapshot, step=step), keep=2)
    assert checkpointing.latest(tmp_path) == path
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]
    found = checkpointing.load(path)
    assert found.step == 3
    assert found.state == {"order": {}}
    kept = found.optimizer["a.weight"]
    assert kept["step"] == 3
    assert kept["state1"].tolist() == [1, 255]
    assert kept["state1"].dtype == torch.uint8


def test_a_complete_run_is_left_alone(whole: Path, run) -> None:
    """The same call again changes no file."""
    before = {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file()}
    assert run(whole) == whole / "student"
    assert {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file()} == before


# Audit events of a run, at which the process kills itself: the n-th opening or renaming of a file
# whose name ends so.
DEATHS = {
    "before the first checkpoint": ("open", "training_log.jsonl", 3),
    "in a checkpoint": ("open", ".step-00000004.tmp/state.json", 1),
    "before a checkpoint has its name": ("os.rename", ".step-00000004.tmp", 1),
    "while an old one is removed": ("shutil.rmtree", ".step-00000002.old.tmp", 2),
    "between two checkpoints": ("open", "training_log.jsonl", 7),
    "behind the last step": ("open", ".step-00000006.tmp/state.json", 1),
    "while the student is written": ("open", ".student.tmp/README.md", 1),
    "before the student has its name": ("os.rename", ".student.tmp", 1),
}


QUICK = ("in a checkpoint", "between two checkpoints", "before the student has its name")
"""Deaths of `make test`; the others are for `make test-slow`."""


@pytest.mark.parametrize(
    "death",
    [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in DEATHS],
)
@pytest.mark.process
def test_killed_and_resumed(run, whole: Path, tmp_path: Path, death: str) -> None:
    """Killed anywhere: no checkpoint is lost, and the run goes on to the same curve and the same
    student."""
    event, ending, count = DEATHS[death]
    out = tmp_path / "run"

    def die() -> None:
        left = count

        def watch(name: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if name == event and str(arguments[0]).endswith(ending):
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        run(out)

    process = in_a_process(die)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert record(out)["status"] == "running"
    path = checkpointing.latest(out / "checkpoints")
    if path is not None:
        step = checkpointing.load(path).step  # it can be read
        assert len(lines(out)) - step <= FP32.checkpoint_every
    run(out)
    same_curve(out, whole)
    same_student(out, whole)
    assert record(out)["status"] == "complete"
    hidden = [p.name for p in out.rglob(".*") if p.name != ".train.lock"]
    assert not hidden


@pytest.mark.slow
@pytest.mark.process
def test_killed_at_any_time(run, whole: Path, tmp_path: Path) -> None:
    """Killed with -9 from outside, again and again, wherever it falls."""
    out = tmp_path / "run"
    for step in (1, 3, 5):
        process = in_a_process(lambda: run(out))
        log = out / "training_log.jsonl"
        while process.is_alive() and not (
            log.exists() and len(log.read_bytes().splitlines()) >= step
        ):
            time.sleep(0.001)
        process.kill()
        process.join(60)
    run(out)
    same_curve(out, whole)
    same_student(out, whole)


@pytest.mark.parametrize(
    "signum", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_asked_to_stop(
    run, whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], signum: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM lose nothing: the step is finished and a checkpoint is written. Each part
    of the work shows its progress."""
    out = tmp_path / "run"

    class AtStep(Lines):
        def advance(self, count: int = 1, *, tokens: int = 0, loss: float | None = None) -> None:
            super().advance(count, tokens=tokens, loss=loss)
            if loss is not None and self._done == 3:
                signal.raise_signal(signum)

    old = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    interrupts.install()
    try:
        with pytest.raises(Interrupted) as caught:
            run(out, progress=AtStep)
    finally:
        for each, handler in old.items():
            signal.signal(each, handler)
    assert caught.value.exit_code == 128 + signum
    shown = re.findall(r"^(\w+)  \d+/\d+ .* left$", capfd.readouterr().err, re.MULTILINE)
    assert shown == ["examples", "images", "training"]
    assert checkpointing.latest(out / "checkpoints").name == "step-00000003"
    same_curve(out, whole, count=3)
    run(out)
    same_curve(out, whole)
    same_student(out, whole)


def test_resumed_with_dropout(run, tmp_path: Path) -> None:
    """The generator's state is part of a checkpoint: dropout goes on as it would have."""
    config = replace(FP32, lora_rank=2, lora_dropout=0.5)
    run(tmp_path / "whole", config)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for path in ("distill.json", "student"):
        (tmp_path / "cut" / path).rename(tmp_path / f"old-{Path(path).name}")
    kept = json.loads((tmp_path / "old-distill.json").read_text())
    (tmp_path / "cut" / "distill.json").write_text(json.dumps({**kept, "status": "running"}))
    checkpointing._remove(tmp_path / "cut" / "checkpoints" / "step-00000006")
    run(tmp_path / "cut", config)
    same_curve(tmp_path / "cut", tmp_path / "whole")
    same_student(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.process
def test_a_full_disk(run, whole: Path, tmp_path: Path) -> None:
    """No checkpoint is lost: the error names the last good one, and the run goes on with room."""
    out = tmp_path / "run"
    said = tmp_path / "said"
    size = (whole / "checkpoints" / "step-00000006" / "optimizer.safetensors").stat().st_size

    class FullFrom(Lines):
        def advance(self, count: int = 1, *, tokens: int = 0, loss: float | None = None) -> None:
            super().advance(count, tokens=tokens, loss=loss)
            if loss is not None and self._done == 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    def fill() -> None:
        try:
            run(out, progress=FullFrom)
        except HarnessError as error:
            said.write_text(str(error))
            os._exit(int(error.code))

    process = in_a_process(fill)
    process.join(60)
    assert process.exitcode == 1
    assert "cannot be written to" in said.read_text()
    assert "Last good checkpoint" in said.read_text()
    assert "step-00000002" in said.read_text()
    assert [p.name for p in (out / "checkpoints").iterdir()] == ["step-00000002"]
    run(out)
    same_curve(out, whole)
    same_student(out, whole)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"config": replace(FP32, learning_rate=2e-3)}, "learning_rate: 0.001 there, 0.002 now"),
        ({"config": replace(FP32, objective="answer")}, "objective"),
        ({"seed": 1}, "weights"),
        ({"count": 10}, "data"),
    ],
    ids=["config", "objective", "weights", "data"],
)
def test_another_run_is_refused(  # noqa: PLR0917  # pytest gives them by name
    run, whole, tiny, examples, changes, named
) -> None:
    """What differs is named; nothing is touched."""
    with pytest.raises(HarnessError) as caught:
        run(
            whole,
            changes.get("config", FP32),
            examples[: changes.get("count", 11)],
            base=tiny("moondream", changes.get("seed", 0)),
        )
    assert named in str(caught.value)
    assert "--fresh" in str(caught.value)
    assert record(whole)["status"] == "complete"


def test_settings_that_change_no_result_may_differ(run, whole: Path) -> None:
    """A run goes on with more accumulation, or less room for checkpoints and features."""
    config = replace(
        FP32, accumulation=2, gradient_checkpointing=True, keep_checkpoints=1, feature_cache_gb=0
    )
    assert run(whole, config) == whole / "student"


def test_fresh_moves_a_run_aside(run, whole: Path, tmp_path: Path) -> None:
    """The old run is kept beside the new one."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    run(out, replace(FP32, epochs=1, learning_rate=5e-4), fresh=True)
    assert record(out)["config"]["learning_rate"] == 5e-4
    assert len(lines(out)) == 6
    (aside,) = [p for p in tmp_path.iterdir() if p.name.startswith("run.")]
    same_curve(aside, whole)
    same_student(aside, whole)


def test_fresh_keeps_the_old_student_until_something_can_be_learned(
    run, whole: Path, examples: list[Example], tmp_path: Path
) -> None:
    """Examples of which none can be learned are found before anything is moved."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    nothing = [replace(example, rationale=None) for example in examples[:4]]
    with pytest.raises(HarnessError, match="None of the examples"):
        run(out, FP32, nothing, fresh=True)
    assert (out / "student" / "model.safetensors").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_accumulation_changes_nothing(run, examples: list[Example], tmp_path: Path) -> None:
    """Two micro-batches of two are one batch of four, though their targets differ in length."""
    some = [
        Example(e.sample, replace(e.rationale, reasoning="so " * (1 + 9 * (n % 4))))
        for n, e in enumerate(examples[:8])
    ]
    for name, changes in {"one": {}, "two": {"accumulation": 2}}.items():
        run(tmp_path / name, replace(FP32, batch_size=4, **changes), some)
    same_curve_loosely(tmp_path / "two", tmp_path / "one")


def same_curve_loosely(out: Path, whole: Path) -> None:
    for line, other in zip(lines(out), lines(whole), strict=True):
        assert line["loss"] == pytest.approx(other["loss"], abs=2e-5)
        assert line["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)


@pytest.mark.parametrize(
    "changes", [{"feature_cache_gb": 0.0}, {"gradient_checkpointing": True}], ids=str
)
def test_saving_memory_or_disk_changes_nothing(run, whole, tmp_path: Path, changes) -> None:
    """The same curve without a cache of features, and with activations computed again."""
    run(tmp_path / "run", replace(FP32, **changes), features=tmp_path / "features")
    same_curve(tmp_path / "run", whole)


def test_clipping(run, whole: Path, tmp_path: Path) -> None:
    """The norm in the log is that before clipping; Adam with a large epsilon shows the effect."""
    config = replace(FP32, epsilon=1.0, learning_rate=1.0)
    run(tmp_path / "free", config)
    run(tmp_path / "clipped", replace(config, clip=1e-3))
    free, clipped = lines(tmp_path / "free"), lines(tmp_path / "clipped")
    assert free[0]["grad_norm"] == clipped[0]["grad_norm"] > 1
    assert clipped[0]["loss"] - clipped[-1]["loss"] < 0.1 * (free[0]["loss"] - free[-1]["loss"])


def test_adam_step_by_hand(run, tiny, examples: list[Example], tmp_path: Path) -> None:
    """One step of the paper's Adam: each weight moves by rate x m / (sqrt(v) + eps), where, after
    bias correction, m is the gradient and v its square."""
    config = replace(FP32, batch_size=11, checkpoint_every=50)
    run(tmp_path / "run", config)
    rate = learning_rate(1, 1, config)
    student = Student(tiny("moondream"), config, TASK, features=tmp_path / "features")
    student.loss(student.encode(examples)).backward()
    after = checkpointing.load(tmp_path / "run" / "checkpoints" / "step-00000001").model
    for name, weight in student.module.named_parameters():
        if weight.requires_grad:
            moved = weight - rate * weight.grad / (weight.grad.abs() + config.epsilon)
            assert torch.allclose(after[name], moved, atol=2e-6), name


def test_a_loss_that_is_not_finite_stops_the_run(run, examples, tmp_path: Path) -> None:
    """With the step, its samples, and the checkpoint to go on from."""
    config = replace(FP32, learning_rate=1e30, checkpoint_every=1)
    with pytest.raises(HarnessError) as caught:
        run(tmp_path / "run", config)
    text = str(caught.value)
    assert text.startswith("Step 2: ")
    assert "step-00000001" in text
    assert sum(example.sample.id in text for example in examples) == 2
    assert record(tmp_path / "run")["status"] == "running"
    assert len(lines(tmp_path / "run")) == 1


def test_weights_that_are_not_finite(run, tiny, tmp_path: Path) -> None:
    """There may be no checkpoint yet; the message says so."""
    base = tmp_path / "base"
    base.mkdir()
    for path in tiny("moondream").iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    weights = load_file(base / "model.safetensors")
    weights["text_model.lm_head.linear.bias"][3] = float("nan")
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(HarnessError, match=r"(?s)Step 1: loss is nan.*There is no checkpoint yet"):
        run(tmp_path / "run", base=base, features=tmp_path / "features")


def test_what_cannot_be_learned_is_left_out_and_named(run, examples, tmp_path: Path) -> None:
    """Corrupt pictures, samples without a rationale and long ones; the rest is learned."""
    broken = ImageRef("broken.png", lambda: b"no picture")
    some = [
        *examples[:4],
        Example(replace(examples[4].sample, images=(broken,)), examples[4].rationale),
        Example(examples[5].sample, None),
        Example(examples[6].sample, replace(examples[6].rationale, reasoning="so " * 3000)),
    ]
    run(tmp_path / "run", FP32, some)
    counts = record(tmp_path / "run")["counts"]
    assert (counts["examples"], counts["used"]) == (7, 4)
    assert counts["left_out"] == {
        "its picture cannot be used": 1,
        "no rationale": 1,
        "longer than the context of 2048 tokens": 1,
    }
    assert set(counts["left_out_ids"]) == {e.sample.id for e in some[4:]}
    assert "broken.png" in counts["left_out_ids"][some[4].sample.id]


def test_nothing_to_learn(run, examples, tmp_path: Path) -> None:
    """Without a single example there is no student, and the reason is told."""
    with pytest.raises(HarnessError, match="2 no rationale"):
        run(tmp_path / "run", FP32, [Example(e.sample, None) for e in examples[:2]])


def test_the_answer_only_control(run, examples, tmp_path: Path) -> None:
    """It needs no rationales, and learns the letter and the end token of each sample."""
    config = replace(FP32, objective="answer")
    run(tmp_path / "run", config, [Example(e.sample, None) for e in examples])
    words = AutoTokenizer.from_pretrained(tmp_path / "run" / "student")
    tokens = sum(len(words(f" {'ABCD'[e.sample.target]}")["input_ids"]) + 1 for e in examples)
    assert sum(line["target_tokens"] for line in lines(tmp_path / "run")) == tokens
    assert "distilled on answers only" in (tmp_path / "run" / "student" / "README.md").read_text()


def test_8_bit_adam_needs_its_package_and_a_gpu(run, tmp_path: Path) -> None:
    """Where either is absent the message says what to do."""
    with pytest.raises(HarnessError, match=r"(?s)8-bit Adam needs.*NVIDIA GPU.*adam"):
        run(tmp_path / "run", replace(FP32, optimizer="adam8bit"))


def test_a_damaged_checkpoint_is_named(run, whole: Path, tmp_path: Path) -> None:
    """And the one before it is there still."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / "distill.json").write_text(json.dumps({**record(out), "status": "running"}))
    last = out / "checkpoints" / "step-00000006"
    (last / "optimizer.safetensors").write_bytes(b"\x08")
    with pytest.raises(DataError, match="step-00000006 is damaged"):
        run(out)
    checkpointing._remove(last)
    run(out)
    assert record(out)["status"] == "complete"


def change_state(**changes: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        state = json.loads((path / "state.json").read_text())
        (path / "state.json").write_text(json.dumps({**state, **changes}))

    return change


def pipe(path: Path) -> None:
    (path / "random.safetensors").unlink()
    os.mkfifo(path / "random.safetensors")


def link(path: Path) -> None:
    other = path.parent.parent / "other.safetensors"
    (path / "model.safetensors").rename(other)
    (path / "model.safetensors").symlink_to(other)


def short_moments(path: Path) -> None:
    tensors = load_file(path / "optimizer.safetensors")
    halves = {name: tensor[:1].contiguous() for name, tensor in tensors.items()}
    save_file(halves, path / "optimizer.safetensors")


def other_random(path: Path) -> None:
    save_file({"cpu": torch.zeros(3, dtype=torch.uint8)}, path / "random.safetensors")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (change_state(step=-5), "is damaged"),
        (change_state(step="6"), "it is of step '6'"),
        (change_state(order=None), "of another model"),
        (pipe, "not a regular file"),
        (link, "leads out of its folder"),
        (short_moments, "of another model"),
        (other_random, "random numbers"),
    ],
    ids=["step", "text", "order", "pipe", "link", "moments", "random"],
)
def test_a_checkpoint_from_elsewhere_is_refused(
    run, whole: Path, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    """Its path is in the message; nothing is waited for, and no link is followed."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / "distill.json").write_text(json.dumps({**record(out), "status": "running"}))
    damage(out / "checkpoints" / "step-00000006")
    with pytest.raises(DataError, match=rf"(?s)step-00000006.*{words}"):
        run(out)


def test_two_at_once(run, tmp_path: Path) -> None:
    """A folder that is being trained in is refused."""
    with checkpointing.locked(tmp_path), pytest.raises(HarnessError, match="Another process"):
        run(tmp_path)


def test_checkpoints_without_a_record(run, whole: Path, tmp_path: Path) -> None:
    """Nobody knows what they are of."""
    (tmp_path / "checkpoints" / "step-00000002").mkdir(parents=True)
    with pytest.raises(HarnessError, match=r"no distill\.json"):
        run(tmp_path)


def test_a_log_that_lacks_steps(run, whole: Path, tmp_path: Path) -> None:
    """A log with missing steps is not made up."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / "distill.json").write_text(json.dumps({**record(out), "status": "running"}))
    log = out / "training_log.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(DataError, match="does not have all steps up to 6"):
        run(out)


def test_the_callers_random_numbers_are_its_own(run, tmp_path: Path) -> None:
    """Training neither uses nor moves the generator of who calls it."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(tmp_path / "run", replace(FP32, lora_rank=2, lora_dropout=0.5))
    assert torch.equal(torch.rand(3), expected)


def test_the_card(overfitted: Path) -> None:
    """Data, teacher, licences and Table 3, with foreign text as text; results are filled in."""
    path = overfitted / "student" / "README.md"
    text = path.read_text()
    assert text.startswith("---\n")
    assert r"Moon \| base" in text
    assert r"T\<script\>" in text
    assert "| Learning rate | 0.01 |" in text
    assert "| Image tokens | 16 |" in text
    assert "Not evaluated yet." in text
    fill_results(path, "| accuracy | 0.5 |")
    fill_results(path, "| accuracy | 0.6 |")
    filled = path.read_text()
    assert "Not evaluated yet." not in filled
    assert "0.5" not in filled
    assert filled.count("| accuracy | 0.6 |") == 1
    with pytest.raises(DataError, match="no section for results"):
        fill_results(overfitted / "distill.json", "x")


def test_the_curve_is_a_picture_of_its_own() -> None:
    """Well-formed SVG with axes, labels and two lines; the losses stand where they belong."""
    root = ET.fromstring(loss_svg([1.8, 1.0, 0.6, 0.8], title="a < b"))
    texts = ["".join(e.itertext()) for e in root.iter() if e.tag.endswith("text")]
    assert {"a < b", "Optimizer step", "Loss (nats per token)", "each step"} <= set(texts)
    assert {"1", "4", "0", "2"} <= set(texts)
    raw, _ = [e.get("points") for e in root.iter() if e.tag.endswith("polyline")]
    points = [tuple(map(float, p.split(","))) for p in raw.split()]
    # The vertical axis goes from 0 at 352 to 2 at 40, the horizontal one from 1 at 62 to 4 at 622.
    assert points == [(62, 71.2), (248.7, 196), (435.3, 258.4), (622, 227.2)]
    assert not [e for e in root.iter() if e.tag.endswith(("script", "image", "use"))]


def test_smoothing_is_a_mean_of_a_tenth_of_all() -> None:
    """Of each loss and those before it."""
    assert smoothed([4.0, 2.0]) == [4.0, 2.0]
    losses = [float(n) for n in range(30)]
    assert smoothed(losses)[:4] == [0.0, 0.5, 1.0, 2.0]
    assert smoothed(losses)[-1] == 28.0


@pytest.mark.parametrize("steps", [2, 3])
def test_progress_tells_time_speed_and_loss(steps: int) -> None:
    """On a pipe, a line every ten seconds, and one at the end that repeats none."""
    now, said = [0.0], []
    with Lines("training", total=10, done=4, clock=lambda: now[0], write=said.append) as bar:
        for _ in range(steps):
            now[0] += 5
            bar.advance(tokens=100, loss=0.5)
    assert (
        said
        == [
            "training  6/10  20 tokens/s  loss 0.500  0:20 left",
            "training  7/10  20 tokens/s  loss 0.500  0:15 left",
        ][: steps - 1]
    )


def test_the_estimate_of_a_run(tiny, whole: Path, examples: list[Example]) -> None:
    """Steps and tokens are the run's own; bytes are those of what was written; time is operations
    over a stated share of a measured rate."""
    found = estimate(examples, base=tiny("moondream"), config=FP32, task=TASK)
    log = lines(whole)
    assert (found.samples, found.steps) == (11, 6)
    assert found.tokens == sum(line["tokens"] for line in log)
    assert found.target_tokens == sum(line["target_tokens"] for line in log)
    assert found.parameters == 177_696
    weights = load_file(whole / "checkpoints" / "step-00000006" / "model.safetensors")
    assert found.trained == sum(t.numel() for t in weights.values())
    assert found.memory["optimizer"] == 8 * found.trained
    assert found.disk["checkpoints"] == 3 * 12 * found.trained
    assert found.disk["features"] == 11 * 16 * 64 * 4
    assert found.seconds == found.flops / (UTILISATION * found.device_flops)
    assert found.seconds > 0
    assert {"weights", "activations", "flops", "seconds"} <= set(found.formulas)
    more = estimate(examples, base=tiny("moondream"), config=replace(FP32, epochs=3), task=TASK)
    assert more.steps == 18
    lora = estimate(examples, base=tiny("moondream"), config=replace(FP32, lora_rank=4), task=TASK)
    assert lora.trained == 7168  # attention and MLP, not the head


def test_an_estimate_counts_what_is_left_out(tiny, examples: list[Example]) -> None:
    """Samples without a rationale, and those that are too long."""
    some = [
        examples[0],
        Example(examples[1].sample, None),
        Example(examples[2].sample, replace(examples[2].rationale, reasoning="so " * 3000)),
    ]
    found = estimate(some, base=tiny("moondream"), config=FP32, task=TASK)
    assert found.samples == 1
    assert found.left_out == {"no rationale": 1, "longer than the context of 2048 tokens": 1}
