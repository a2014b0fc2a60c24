"""LoRA: what is adapted, the adapter by itself, and the same answers merged and apart."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

import harness.models  # noqa: F401  # makes Moondream known to the auto classes
from distill.config import preset
from distill.examples import Example
from distill.layout import Workspace
from distill.training import checkpointing
from distill.training.estimate import estimate
from distill.training.student import Student
from distill.training.students import Training
from distill.training.train import train
from harness.cli.distill.printing import evaluation_commands
from harness.core.errors import HarnessError
from harness.core.options import GenerationOptions, ModelOptions, RunOptions
from harness.core.structured import Rationale
from harness.core.types import DataOptions
from harness.run.evaluate import evaluate
from harness.run.folder import RunFolder
from harness.run.task_data import Data
from harness.sources.weights import Weights
from tasks.scienceqa import TASK
from tasks.scienceqa import load as load_questions

peft = pytest.importorskip("peft")

TARGETS = ("q_proj", "v_proj")
LORA = preset(
    "paper",
    precision="float32",
    learning_rate=5e-2,
    batch_size=4,
    epochs=4,
    checkpoint_every=4,
    lora_rank=4,
    lora_targets=TARGETS,
)


@pytest.fixture(scope="module")
def examples(drawn: Path) -> list[Example]:
    """Eight steps of four drawn questions."""
    samples = load_questions(DataOptions(path=drawn)).samples
    return [
        Example(s, Rationale(s.question, f"A {s.topic} picture.", s.solution, "A"))
        for s in samples[::8]
    ]


@pytest.fixture(scope="module")
def run(tiny: Callable[..., Path], examples: list[Example], tmp_path_factory) -> Callable[..., Any]:
    """`run(out)` trains into the folder `out`; features are shared by all."""
    features = tmp_path_factory.mktemp("features")

    def go(out: Path) -> None:
        train(examples, base=tiny("moondream"), out=out, config=LORA, features=features)

    return go


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory) -> Path:
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    run(out)
    return out


def test_the_adapter_is_kept_by_itself(whole: Path) -> None:
    """In peft's layout, with A and B of each layer that was named, and of no other."""
    config = json.loads((whole / "adapter" / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 4, 16.0)
    names = config["target_modules"]
    assert {name.rpartition(".")[2] for name in names} == set(TARGETS)
    assert all(".language_model.layers." in name for name in names)
    tensors = load_file(whole / "adapter" / "adapter_model.safetensors")
    assert sorted(tensors) == sorted(
        f"base_model.model.{name}.lora_{part}.weight" for name in names for part in "AB"
    )
    learned = checkpointing.load(checkpointing.latest(whole / "checkpoints")).model
    kept = [tensor for _, tensor in sorted(tensors.items())]
    assert all(map(torch.equal, kept, [tensor for _, tensor in sorted(learned.items())]))
    card = (whole / "student" / "README.md").read_text()
    assert r"LoRA adapters of rank 4, alpha 16, on q\_proj, v\_proj." in card


def answers(tmp_path: Path, drawn: Path, **model: Any) -> list[str]:
    """Raw answers to the first drawn questions, in float32."""
    options = ModelOptions(model="moondream-kd", device="cpu", dtype="float32", **model)
    how = RunOptions(
        runs=tmp_path, limit=6, batch_size=3, generation=GenerationOptions(max_new_tokens=24)
    )
    found = evaluate(Weights(options), Data(TASK, DataOptions(path=drawn)), how)
    return [prediction.raw for prediction in RunFolder(found.folder).read_predictions()]


def test_the_answers_are_equal_merged_and_apart(
    whole: Path, tiny: Callable[..., Path], drawn: Path, tmp_path: Path
) -> None:
    """The student's folder, and --adapter on the base; the base alone answers otherwise."""
    base = str(tiny("moondream"))
    merged = answers(tmp_path / "merged", drawn, weights=str(whole / "student"))
    apart = answers(tmp_path / "apart", drawn, weights=base, lora=whole / "adapter")
    assert merged == apart
    assert merged != answers(tmp_path / "base", drawn, weights=base)


def test_the_logits_are_equal_merged_and_unmerged(
    whole: Path, tiny: Callable[..., Path], examples: list[Example], tmp_path: Path
) -> None:
    """Peft's own forward pass, with the adapter beside the weights of the base."""
    student = Student(
        tiny("moondream"), replace(LORA, lora_rank=None, lora_targets=None), TASK, features=tmp_path
    )
    batch = student.encode(examples[:2])
    found = []
    for folder in (whole / "student", tiny("moondream")):
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
        if folder != whole / "student":
            model = peft.PeftModel.from_pretrained(model, whole / "adapter")
        with torch.no_grad():
            made = model.eval()(
                input_ids=batch.ids, image_features=torch.stack(batch.features)
            ).logits
        found.append(made)
    assert torch.allclose(*found, atol=1e-4)
    assert torch.equal(*(logits.argmax(-1) for logits in found))


def test_the_commands_that_evaluate_a_student(whole: Path, tiny: Callable[..., Path]) -> None:
    """Of its own data, by its own name, next to the other runs; by the folder alone where it answers
    without a rationale."""
    base = ModelOptions(model="moondream", weights=str(tiny("moondream")))
    training = Training(base=base, config=LORA, preset="paper")
    student, adapter = whole / "student", whole / "adapter"
    workspace = Workspace(runs=Path("my runs"), name="kd")
    own = "--task mine.py --data 'my data' --name kd --runs 'my runs'"
    apart = own.replace("kd", "kd-adapter")
    found = evaluation_commands(student, training, workspace, task="mine.py", data=Path("my data"))
    assert list(found) == [
        f"harness eval --model moondream-kd --weights {student} {own}",
        f"harness eval --model moondream-kd --weights {base.weights} --adapter {adapter} {apart}",
    ]
    control = replace(training, config=LORA.with_objective("answer"))
    usual = Workspace(runs=Path("runs"), name="moondream-kd")
    named = "--task scienceqa --name moondream-kd"
    assert list(evaluation_commands(student, control, usual, task="scienceqa", data=None)) == [
        f"harness eval --model {student} {named}",
        f"harness eval --model {tiny('moondream')} --adapter {adapter} {named}-adapter",
    ]
    (shown, _) = evaluation_commands(student, training, usual, task="scienceqa", data=None)
    assert "--name" not in shown


def test_a_resumed_run_has_the_same_adapter(run, whole: Path, tmp_path: Path) -> None:
    """Curve, adapter and student are those of the run that nothing disturbed."""
    out = tmp_path / "cut"
    shutil.copytree(whole, out)
    record = json.loads((out / "distill.json").read_text())
    (out / "distill.json").write_text(json.dumps({**record, "status": "running"}))
    for name in ("student", "adapter"):
        shutil.rmtree(out / name)
    checkpointing._remove(out / "checkpoints" / "step-00000008")
    run(out)
    for name in ("adapter/adapter_model.safetensors", "adapter/adapter_config.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    student = "student/model.safetensors"
    assert (out / student).read_bytes() == (whole / student).read_bytes()
    losses = [
        [
            json.loads(line)["loss"]
            for line in (each / "training_log.jsonl").read_text().splitlines()
        ]
        for each in (out, whole)
    ]
    assert losses[0] == losses[1]


def test_what_is_adapted_is_what_is_estimated(
    whole: Path, tiny: Callable[..., Path], examples: list[Example]
) -> None:
    """The parameters of the named layers alone."""
    found = estimate(examples, base=tiny("moondream"), config=LORA, task=TASK)
    tensors = load_file(whole / "adapter" / "adapter_model.safetensors").values()
    assert found.trained == sum(tensor.numel() for tensor in tensors)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lora_targets": ("nose",)}, "--lora-targets nose: no linear layer of embeddings, layers"),
        ({"lora_targets": ("nose",)}, "There are dense, fc1, fc2, k_proj, lm_head, q_proj, v_proj"),
        ({"lora_targets": ("fc1",), "train": ("head",)}, "There are lm_head"),
    ],
    ids=str,
)
def test_a_layer_that_is_not_there_is_refused(
    tiny: Callable[..., Path], examples: list[Example], changes: dict[str, Any], words: str
) -> None:
    """Before anything is loaded, with the names of those that are."""
    with pytest.raises(HarnessError) as caught:
        estimate(examples, base=tiny("moondream"), config=replace(LORA, **changes), task=TASK)
    assert words in str(caught.value)


def test_targets_without_a_rank_are_refused() -> None:
    """They would do nothing."""
    with pytest.raises(HarnessError, match="It needs lora_rank"):
        preset("paper", lora_targets=("q_proj",))
