"""Training in float16, and what training asks of GPUs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.config import PRESETS, DistillConfig, preset
from distill.examples import Example
from distill.training import checkpointing, loss_scale, parallel
from distill.training.loss_scale import GROWS_AFTER, INITIAL, LossScale
from distill.training.state import optimizer_settings
from distill.training.train import train
from harness.core.errors import HarnessError
from harness.core.processes import require_own_gpu
from harness.core.structured import Rationale
from harness.core.types import DataOptions
from tasks.scienceqa import load as load_questions

HALF = preset(
    "paper",
    precision="float16",
    learning_rate=1e-3,
    batch_size=2,
    checkpoint_every=1,
    train=("head",),
)


@pytest.fixture
def run(tiny, drawn: Path, tmp_path: Path) -> Callable[..., Path]:
    """`run(name, config)` trains for three steps, in a folder of that name."""
    samples = load_questions(DataOptions(path=drawn)).samples[:6]
    examples = [
        Example(s, Rationale(s.question, f"A {s.topic} picture.", s.solution, "A")) for s in samples
    ]

    def go(name: str, config: DistillConfig = HALF) -> Path:
        out = tmp_path / name
        base = tiny("moondream")
        train(examples, base=base, out=out, config=config, features=tmp_path / "features")
        return out

    return go


def lines(out: Path) -> list[dict[str, Any]]:
    text = (out / "training_log.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_float16_learns_what_float32_does(run, monkeypatch) -> None:
    """A scale that overflows is halved and the step computed again: none is lost, and all are those
    of float32 but for rounding. A resumed run goes on with the scale that was found."""
    monkeypatch.setattr(loss_scale, "INITIAL", 2.0**30)
    out, exact = run("half"), run("exact", replace(HALF, precision="float32"))
    for line, other in zip(lines(out), lines(exact), strict=True):
        assert line["loss"] == pytest.approx(other["loss"], rel=5e-3)
        assert line["grad_norm"] == pytest.approx(other["grad_norm"], rel=5e-2)
    kept = checkpointing.load(out / "checkpoints" / "step-00000003").state["loss_scale"]
    assert 1 < kept["value"] < 2.0**30
    cut = out.with_name("cut")
    shutil.copytree(out, cut)
    record = json.loads((cut / "distill.json").read_text())
    (cut / "distill.json").write_text(json.dumps({**record, "status": "running"}))
    shutil.rmtree(cut / "student")
    shutil.rmtree(cut / "checkpoints" / "step-00000003")
    run("cut")
    for line, other in zip(lines(cut), lines(out), strict=True):
        assert line["loss"] == other["loss"]
    assert checkpointing.load(cut / "checkpoints" / "step-00000003").state["loss_scale"] == kept


def test_a_small_gradient_survives_float16() -> None:
    """One that float16 would round to 0 is what it is in float32."""
    weight = torch.nn.Parameter(torch.ones(1))
    scale = LossScale(enabled=True)
    for factor, expected in ((1.0, 0.0), (scale.value, 1e-8)):
        weight.grad = None
        half = weight.to(torch.float16)
        (half.float() * 1e-8 * factor).sum().backward()
        if factor > 1:
            scale.unscale([weight])
        assert weight.grad is not None
        assert weight.grad.item() == pytest.approx(expected, rel=1e-3)


def test_the_scale_shrinks_and_grows() -> None:
    """By a factor of two: at an overflow, and after many steps without one."""
    scale = LossScale(enabled=True)
    assert scale.shrink()
    for _ in range(GROWS_AFTER - 1):
        scale.step_taken()
    assert scale.value == INITIAL / 2
    kept = scale.state()
    again = LossScale(enabled=True)
    again.restore(kept)
    again.step_taken()
    assert again.value == INITIAL
    while again.shrink():
        pass
    assert again.value == 1


def test_nothing_is_scaled_in_other_precisions() -> None:
    """An infinite gradient there is the user's to hear of."""
    scale = LossScale(enabled=False)
    assert (scale.value, scale.shrink(), scale.state()) == (1, False, None)


def test_the_published_code_is_not_scaled() -> None:
    """Its runs of earlier versions resume; those of the float16 that had no scale do not mix."""
    code = PRESETS["code"]
    assert code.all_in_float16
    assert code.outcome()["loss_scaling"] is None
    assert PRESETS["paper"].outcome()["loss_scaling"] is None
    assert HALF.outcome()["loss_scaling"] is True


@pytest.mark.parametrize("name", ["adam", "adamw", "adam8bit"])
def test_optimizers_are_fused_on_gpus(name: Any) -> None:
    """Torch's own are; bitsandbytes' has no such argument."""
    config = replace(HALF, optimizer=name)
    assert optimizer_settings(config, device="cuda:1").get("fused", False) is (name != "adam8bit")
    assert "fused" not in optimizer_settings(config, device="cpu")


@pytest.mark.parametrize(
    ("gpus", "said", "remedy"),
    [
        (0, "there are 0", "--device cpu"),
        (1, "there is 1", "--nproc-per-node 1"),
        (2, "there are 2", "--nproc-per-node 2"),
        (3, "", ""),
    ],
)
def test_more_processes_than_gpus(monkeypatch, gpus: int, said: str, remedy: str) -> None:
    """The process without one says so, before CUDA does in its own words."""
    for name, value in {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    if not said:
        require_own_gpu(gpus)
        return
    with pytest.raises(HarnessError, match=said) as caught:
        require_own_gpu(gpus)
    assert remedy in caught.value.remedy


def test_training_on_gpus_that_are_not_there(run, monkeypatch) -> None:
    """It is refused before processes look for each other."""
    if torch.cuda.device_count() > 2:
        pytest.skip("there are enough")
    for name, value in {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HarnessError, match="has no GPU of its own"):
        parallel.start(HALF, "cuda")


def test_a_process_that_waits_on_a_gpu_ends() -> None:
    """Within minutes, where the pictures of all processes may take hours."""
    assert parallel.step_timeout("cuda") <= timedelta(minutes=30)
    assert parallel.step_timeout("cpu") >= timedelta(hours=1)
