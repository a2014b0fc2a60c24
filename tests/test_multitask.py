"""Distilling step-by-step: two weighted targets of each question."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from distill.config import preset
from distill.examples import Example
from distill.objectives import objective_of
from distill.objectives.multitask import PREFIX, Multitask
from distill.training.estimate import estimate
from distill.training.fingerprint import fingerprint
from distill.training.student import Student
from distill.training.train import train
from harness.core.errors import HarnessError, SampleError
from harness.core.structured import Rationale
from harness.core.types import DataOptions
from tasks.scienceqa import TASK
from tasks.scienceqa import load as load_questions
from tests.test_distill_student import independent_loss

CONFIG = preset(
    "paper",
    objective="multitask",
    precision="float32",
    learning_rate=1e-3,
    batch_size=4,
    checkpoint_every=2,
)


@pytest.fixture(scope="module")
def examples(drawn: Path) -> list[Example]:
    """Two steps of four drawn questions, with rationales of different lengths."""
    samples = load_questions(DataOptions(path=drawn)).samples
    return [
        Example(s, Rationale(s.question[: 7 * n + 5], f"A {s.topic}.", s.solution, "A"))
        for n, s in enumerate(samples[::8])
    ]


def test_the_two_targets(examples: list[Example]) -> None:
    """The gold letter after the plain question; the rationale, without conclusion, after a
    prefix."""
    example = examples[0]
    answer, rationale = Multitask(rationale_weight=0.5).targets(example)
    assert (answer.text, answer.prefix, answer.share) == (" A", "", 1.0)
    assert (rationale.prefix, rationale.share) == (PREFIX, 0.5)
    assert rationale.text.startswith("<SUMMARY> ")
    assert rationale.text.endswith(f"<REASONING> {example.rationale.reasoning} </REASONING>")
    with pytest.raises(SampleError, match="no rationale"):
        Multitask().targets(replace(example, rationale=None))
    short = objective_of(preset("paper", objective="multitask", without=("caption",)))
    assert "CAPTION" not in short.targets(example)[1].text


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({}, {}),
        ({"rationale_weight": 0.25}, {"caption_weight": 3.0, "summary_weight": 0.0}),
        ({"rationale_weight": 2.0}, {"train": ("vision", "layers")}),
    ],
    ids=str,
)
def test_the_loss_is_the_sum_of_two_means(
    tiny: Callable[..., Path],
    examples: list[Example],
    tmp_path: Path,
    settings: dict[str, Any],
    changes: dict[str, Any],
) -> None:
    """Of a plain forward pass over each target alone: long rationales count as much as short
    ones, and letters as much as both."""
    config = replace(CONFIG, objective_settings=settings, **changes)
    student = Student(tiny("moondream"), config, TASK, features=tmp_path)
    some = examples[:3]
    means: list[list[float]] = [[], []]
    for example in some:
        for row, found in zip(student.rows(example), means, strict=True):
            losses, weights = independent_loss(tiny("moondream"), [(row, example)])
            total = sum(x * w for x, w in zip(losses, weights, strict=True))
            found.append(total / sum(weights))
    share = settings.get("rationale_weight", 1.0)
    expected = (fmean(means[0]) + share * fmean(means[1])) / (1 + share)
    batch = student.encode(some)
    assert student.loss(batch).item() == pytest.approx(expected, abs=1e-5)
    assert batch.weight == pytest.approx(len(some) * (1 + share))


def test_the_question_of_the_answer_is_the_one_that_is_evaluated(
    tiny: Callable[..., Path], examples: list[Example], tmp_path: Path
) -> None:
    """The control's tokens; the prefix stands in the question of the rationale."""
    multitask = Student(tiny("moondream"), CONFIG, TASK, features=tmp_path)
    control = Student(tiny("moondream"), CONFIG.with_objective("answer"), TASK, features=tmp_path)
    answer, rationale = multitask.rows(examples[0])
    assert answer.ids == control.rows(examples[0])[0].ids
    text = multitask._processor.tokenizer.decode(rationale.ids)
    assert f"Question: {PREFIX}{examples[0].sample.question}" in text
    assert multitask.length(examples[0]) == len(rationale.ids)


def test_a_run_learns_both(
    tiny: Callable[..., Path], examples: list[Example], tmp_path: Path
) -> None:
    """Both in a batch, as many tokens as were estimated; accumulation changes nothing."""
    base = tiny("moondream")
    logs = []
    for name, config in (("a", CONFIG), ("b", replace(CONFIG, accumulation=2))):
        train(examples, base=base, out=tmp_path / name, config=config)
        lines = (tmp_path / name / "training_log.jsonl").read_text().splitlines()
        logs.append([json.loads(line) for line in lines])
    found = estimate(examples, base=base, config=CONFIG, task=TASK)
    assert found.tokens == sum(line["tokens"] for line in logs[0])
    assert found.target_tokens == sum(line["target_tokens"] for line in logs[0])
    for first, second in zip(*logs, strict=True):
        assert first["loss"] == pytest.approx(second["loss"], abs=1e-5)
    record = json.loads((tmp_path / "a" / "distill.json").read_text())
    assert record["objective"]["settings"] == {"rationale_weight": 1.0}
    other = replace(CONFIG, objective_settings={"rationale_weight": 2.0})
    assert fingerprint(examples, objective_of(CONFIG), TASK) != fingerprint(
        examples, objective_of(other), TASK
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective_settings": {"rationale_weight": 0}}, "rationale_weight cannot be 0"),
        ({"without": ("summary", "caption", "reasoning")}, "No token of the rationale"),
    ],
    ids=str,
)
def test_without_a_rationale_there_is_one_task(changes: dict[str, Any], words: str) -> None:
    """Which is that of the objective answer."""
    with pytest.raises(HarnessError) as caught:
        replace(CONFIG, **changes)
    assert words in str(caught.value)
