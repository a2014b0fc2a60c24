"""The pipeline's own parts: what is taught, what is measured, what is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill.config import DistillConfig
from distill.evaluation import count_overlap, evaluate_student
from distill.examples import Example
from distill.layout import CONTROL, Workspace
from distill.objectives.answer import Answer
from distill.objectives.objective import Objective
from distill.objectives.structured import Structured
from distill.options import EvaluationOptions, RationaleOptions
from distill.pipeline import Plan
from distill.quality.dependence import Dependence, image_dependence, summarise_dependence
from distill.quality.record import measure_run, write_quality
from distill.questions import Questions
from distill.rationales.collect import Teaching, collect_rationales
from distill.rationales.kept import load_examples
from distill.training.students import Training
from harness.core.errors import DataError
from harness.core.options import ModelOptions
from harness.core.structured import Rationale, render
from harness.core.types import DataOptions, Prediction
from harness.run.task_data import Data
from tasks import load_task

TASK = load_task("scienceqa")


@pytest.fixture
def plan(drawn: Path, tiny: Callable[..., Path], tmp_path: Path) -> Plan:
    """Rationales from a file for the drawn questions, which are also the test."""
    data = Data(TASK, DataOptions(path=drawn))
    texts = []
    for sample in data.samples.samples[:8]:
        option = sample.choices[sample.target]  # type: ignore[index]
        wrong = "ABCD"[(int(sample.target) + 1) % len(sample.choices)]
        raw = render(Rationale("Look.", "A drawing.", f"It is {option}.", wrong))
        texts.append({"id": sample.id, "rationale": raw})
    texts[3]["rationale"] = "no tags"
    imported = tmp_path / "theirs.jsonl"
    imported.write_text("".join(json.dumps(text) + "\n" for text in texts))
    config = DistillConfig(precision="float32", batch_size=4)
    return Plan(
        workspace=Workspace(runs=tmp_path / "runs", name="kd"),
        questions=Questions(data=data, limit=8),
        teaching=Teaching(
            teacher=ModelOptions(model="llava-cot"),
            imported=imported,
            options=RationaleOptions(keep="format"),
        ),
        training=Training(
            base=ModelOptions(model="moondream", weights=str(tiny("moondream"))),
            config=config,
            preset="paper",
            device="cpu",
        ),
        test=data,
        evaluation=EvaluationOptions(
            limit=4,
            device="cpu",
            dtype="float32",
            max_new_tokens=config.max_new_tokens,
        ),
    )


def collect(plan: Plan) -> None:
    collect_rationales(plan.workspace, plan.questions, plan.teaching)


def load(plan: Plan, objective: Objective | None = None) -> list[Example]:
    return load_examples(plan.workspace, plan.questions, objective=objective)


def test_examples_are_the_kept_rationales_in_order(plan: Plan) -> None:
    """With the gold answer for a conclusion, whatever the file concludes."""
    collect(plan)
    examples = load(plan)
    samples = plan.questions.data.samples.samples
    assert [e.sample.id for e in examples] == [s.id for s in samples[:8] if s is not samples[3]]
    for example in examples:
        assert example.rationale is not None
        assert example.rationale.conclusion == "ABCD"[int(example.sample.target)]


def test_rationales_of_other_data_are_not_taught(plan: Plan, questions: Path) -> None:
    """The questions have changed since: refused, by what is different."""
    collect(plan)
    path = questions / "test.jsonl"
    path.write_text(path.read_text().replace("farthest north", "northernmost"))
    changed = replace(
        plan,
        questions=replace(plan.questions, data=Data(TASK, DataOptions(path=questions))),
    )
    with pytest.raises(DataError, match=": data"):
        load(changed)


def test_nothing_kept_says_why(plan: Plan) -> None:
    """The reasons of the rejected are in the message."""
    options = replace(plan.teaching.options, keep="agrees")
    strict = replace(
        plan,
        questions=replace(plan.questions, limit=1),
        teaching=replace(plan.teaching, options=options),
    )
    collect(strict)
    with pytest.raises(DataError, match="None of the rationales") as caught:
        load(strict)
    assert "concludes another option" in str(caught.value)


def test_without_rationales_there_is_nothing_to_teach(plan: Plan) -> None:
    """Save answers alone, which need none."""
    with pytest.raises(DataError, match="no rationales"):
        load(plan)
    assert load(plan, Answer()) == [
        Example(sample, None) for sample in plan.questions.data.samples.samples[:8]
    ]


def test_test_questions_that_are_taught_are_noticed(
    plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    """Equal question, options and picture: here the test is the training set."""
    assert count_overlap(plan.questions, plan.test) == 8
    assert "8 of 64 test questions" in caplog.text


def test_quality_of_teacher_and_student(plan: Plan, tmp_path: Path) -> None:
    """quality.json has the teacher's measures with kept and dropped, and those of a run."""
    collect(plan)
    found = write_quality(plan.workspace, plan.questions)
    everything = found["teacher"]["all"]
    assert (everything["n"], everything["kept"], everything["dropped"]) == (8, 7, 1)
    assert everything["measures"]["reasoning_right"]["value"] == 1
    assert everything["measures"]["reasoning_right"]["n"] == 7
    assert everything["measures"]["rouge_l"]["n"] == 7
    assert json.loads((plan.workspace.folder / "quality.json").read_text()) == found


def test_the_students_rationales_have_the_same_measures(plan: Plan) -> None:
    """From its predictions alone, and with ROUGE-L where the questions are at hand."""
    sample = plan.questions.data.samples.samples[0]
    option = sample.choices[sample.target]  # type: ignore[index]
    wrong = "ABCD"[(int(sample.target) + 1) % 4]
    predictions = [
        Prediction(
            sample_id=sample.id,
            raw=render(Rationale("Look.", "A map.", f"It is {option}.", wrong)),
            answer=(int(sample.target) + 1) % 4,
            rule="conclusion",
            scores={"accuracy": 0.0},
            target=sample.target,
            choices=sample.choices,
            topic=sample.topic,
        )
    ]
    found = measure_run(predictions, {sample.id: sample})
    measures = found["all"]["measures"]
    assert measures["reasoning_right"]["value"] == 1
    assert measures["conclusion_right"]["value"] == 0
    assert measures["rouge_l"]["n"] == 1
    assert found["structure"]["reasoning_to_error"]["value"] == 1
    assert measure_run(predictions)["all"]["measures"]["rouge_l"]["n"] == 0


def test_dependence_on_the_image(plan: Plan, tiny: Callable[..., Path]) -> None:
    """Two likelihoods for each rationale, by the untrained student; computed once."""
    collect(plan)
    examples = load(plan)
    arguments: dict[str, Any] = {
        "base": tiny("moondream"),
        "folder": plan.workspace.folder,
        "task": TASK,
    }
    found = image_dependence(examples, **arguments)
    assert list(found) == [example.sample.id for example in examples]
    assert all(each.with_image > 0 for each in found.values())
    assert any(each.gain for each in found.values())
    kept = plan.workspace.folder / "dependence.json"
    before = kept.stat().st_mtime_ns
    assert image_dependence(examples, **arguments) == found
    assert kept.stat().st_mtime_ns == before
    assert list(image_dependence(examples[:2], **arguments)) == list(found)[:2]


def test_dependence_is_what_the_picture_saves() -> None:
    """Nats per token without, less those with; the share is of those that it helps."""
    values = summarise_dependence([Dependence(1.0, 3.0), Dependence(2.0, 1.0)])
    assert values["image_gain"].value == 0.5
    assert values["image_helps"].value == 0.5
    assert values["nll_with_image"].value == 1.5
    assert values["nll_without_image"].value == 2


def test_dependence_equals_the_models_own_likelihood(plan: Plan, tiny: Callable[..., Path]) -> None:
    """Against the probabilities that the model gives to each token of the target, one by one."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    import harness.models  # noqa: F401  # makes Moondream known

    sample = plan.questions.data.samples.samples[0]
    rationale = Rationale("Look.", "A map.", "So it is.", "A")
    folder = tiny("moondream")
    found = image_dependence(
        [Example(sample, rationale)], base=folder, folder=plan.workspace.folder, task=TASK
    )[sample.id]
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    question = TASK.prompt(sample, "direct").text
    target = render(replace(rationale, conclusion="ABCD"[int(sample.target)]))
    prompt = f"<image>\n\nQuestion: {question}\n\nAnswer:"
    picture = sample.images[0].decode()
    asked = processor(text=[prompt], images=[[picture]], return_tensors="pt")
    answer = processor.tokenizer(target, add_special_tokens=False)["input_ids"]
    answer = torch.tensor([[*answer, processor.tokenizer.eos_token_id]])
    start = asked["input_ids"].shape[1]
    asked["input_ids"] = torch.cat([asked["input_ids"], answer], dim=1)
    asked["attention_mask"] = torch.ones_like(asked["input_ids"])
    with torch.no_grad():
        logits = model(**asked).logits[0, start - 1 : -1].log_softmax(-1)
    nll = -logits.gather(1, answer[0, :, None]).mean()
    assert found.with_image == pytest.approx(float(nll), abs=1e-4)


def test_conclusions_can_be_chosen_by_likelihood(plan: Plan, tiny: Callable[..., Path]) -> None:
    """--conclude is the student's; a control, without a reasoning, is asked as ever."""
    concluding = replace(plan.evaluation, conclude=True, limit=2)
    folder = tiny("moondream")
    student = evaluate_student(
        plan.workspace, plan.test, concluding, folder=folder, objective=Structured()
    )
    assert student.record.settings["conclude"] is True
    assert student.record.fingerprint["mode"] == "generate, conclude by loglikelihood"
    control = evaluate_student(
        plan.workspace, plan.test, concluding, folder=folder, objective=Answer(), suffix=CONTROL
    )
    assert control.record.settings["conclude"] is False
