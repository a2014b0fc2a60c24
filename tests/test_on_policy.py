"""The objective `on-policy`: its divergence by hand, its gradient, and a run with a teacher in
memory."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from distill.config import preset
from distill.examples import Example
from distill.objectives.objective import TargetTokens, TopLogits
from distill.objectives.on_policy import OnPolicy, generalised_jsd
from distill.options import RationaleOptions
from distill.questions import Questions
from distill.rationales.collect import Teaching
from distill.rationales.teacher_scores import TeacherScores
from distill.training import checkpointing
from distill.training.estimate import estimate
from distill.training.features import UNUSABLE
from distill.training.student import Student
from distill.training.train import train
from harness.core.errors import HarnessError, SampleError
from harness.core.options import ModelOptions
from harness.core.types import DataOptions
from harness.run.task_data import Data
from tasks.scienceqa import TASK

CONFIG = preset(
    "paper",
    precision="float32",
    learning_rate=1e-2,
    batch_size=2,
    checkpoint_every=1,
    objective="on-policy",
    objective_settings={"sampled_tokens": 6, "beta": 0.25},
)


def divergence(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("beta", [0.0, 0.25, 0.5, 1.0])
def test_the_divergence_by_hand(beta: float) -> None:
    """Of two distributions over three tokens; at 0 and 1 it is a KL divergence."""
    p, q = [0.5, 0.3, 0.2], [0.1, 0.7, 0.2]
    mixed = [beta * a + (1 - beta) * b for a, b in zip(p, q, strict=True)]
    expected = beta * divergence(p, mixed) + (1 - beta) * divergence(q, mixed)
    if beta in {0.0, 1.0}:
        expected = divergence(p, q) if beta == 0 else divergence(q, p)
    logits = [torch.tensor([each]).log() + 3 for each in (p, q)]
    assert generalised_jsd(*logits, beta).item() == pytest.approx(expected, abs=1e-6)


def test_the_gradient_is_that_of_the_loss() -> None:
    """Against finite differences, with the weights of tokens and a head wider than the
    vocabulary."""
    chance = torch.Generator().manual_seed(0)
    teacher, student = (torch.randn(4, n, generator=chance).double() for n in (7, 9))

    def loss(logits: torch.Tensor) -> torch.Tensor:
        return OnPolicy(beta=0.3).loss(
            TargetTokens(
                logits=logits,
                labels=torch.zeros(4, dtype=torch.long),
                weights=torch.tensor([1.0, 2.0, 0.0, 1.0]).double(),
                teacher=TopLogits(torch.zeros(4, 0), teacher),
            )
        )

    assert torch.autograd.gradcheck(loss, student.requires_grad_())


@pytest.fixture
def questions(drawn: Path) -> Questions:
    return Questions(data=Data(TASK, DataOptions(path=drawn)), limit=4)


def scores(questions: Questions, base: Path, teacher: Path) -> TeacherScores:
    model = ModelOptions(model="moondream", weights=str(teacher), device="cpu", dtype="float32")
    if teacher != base:
        model = replace(model, model=str(teacher), weights=None)
    teaching = Teaching(
        teacher=model, imported=None, options=RationaleOptions(inputs=("question",))
    )
    return TeacherScores(teaching, questions, base)


def test_a_run_is_resumed(tiny: Callable[..., Path], questions: Questions, tmp_path: Path) -> None:
    """Losses, answers among them, and weights go on as they were; another teacher is another
    run."""
    base, examples = tiny("moondream"), [Example(s, None) for s in questions.selected()]
    given: dict[str, Any] = {
        "base": base,
        "config": CONFIG,
        "features": tmp_path / "features",
        "scores": scores(questions, base, tiny("moondream", 1)),
    }
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(examples, out=whole, **given)
    shutil.copytree(whole, cut)
    record = json.loads((cut / "distill.json").read_text())
    (cut / "distill.json").write_text(json.dumps({**record, "status": "running"}))
    shutil.rmtree(cut / "student")
    checkpointing._remove(cut / "checkpoints" / "step-00000002")
    train(examples, out=cut, **given)
    curves = [
        [
            json.loads(line)["loss"]
            for line in (each / "training_log.jsonl").read_text().splitlines()
        ]
        for each in (whole, cut)
    ]
    assert curves[0] == curves[1]
    weights = [(each / "student" / "model.safetensors").read_bytes() for each in (whole, cut)]
    assert weights[0] == weights[1]
    given["scores"] = scores(questions, base, base)
    with pytest.raises(HarnessError, match="scores"):
        train(examples, out=whole, **given)


def test_what_it_needs(tiny: Callable[..., Path], questions: Questions, tmp_path: Path) -> None:
    """A teacher, with the student's vocabulary."""
    base = tiny("moondream")
    examples = [Example(s, None) for s in questions.selected()]
    with pytest.raises(HarnessError, match="needs a teacher in memory"):
        train(examples, base=base, out=tmp_path, config=CONFIG)
    with pytest.raises(HarnessError, match="only where the vocabularies are equal"):
        scores(questions, base, tiny("llava"))


def test_an_answer_has_room_in_both_contexts(
    tiny: Callable[..., Path], questions: Questions, tmp_path: Path
) -> None:
    """A question after which the longest answer does not fit is left out before training, and the
    estimate counts the answers."""
    base, example = tiny("moondream"), Example(questions.selected()[0], None)
    student = Student(base, CONFIG, TASK, features=tmp_path)
    (row,) = student.rows(example)
    assert student.length(example) == len(row.ids) + 5
    asked = []
    student.learn_from(SimpleNamespace(check=lambda _, tokens: asked.append(tokens)))
    student.length(example)
    assert asked == [6]
    teacher = scores(questions, base, tiny("moondream", 1))
    student.learn_from(teacher)
    (picture,) = example.sample.images
    broken = replace(example.sample, images=(replace(picture, read=lambda: b""),))
    with pytest.raises(SampleError, match=f"^{UNUSABLE}: "):
        student.length(Example(broken, None))
    teacher._model.context = 20
    with pytest.raises(SampleError, match=r"too long for the teacher: .* tokens, context 20"):
        student.length(example)
    student.context = len(row.ids)
    with pytest.raises(SampleError, match="longer than the context"):
        student.length(example)
    found = estimate([example], base=base, config=CONFIG, task=TASK)
    assert (found.tokens, found.target_tokens) == (len(row.ids) + 5, 6)
