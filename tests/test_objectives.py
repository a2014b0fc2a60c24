"""Training objectives: an objective is one file and one line, and everything else asks it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from distill.config import DistillConfig, preset
from distill.examples import Example
from distill.objectives import OBJECTIVES, find_objective, objective_of, recorded_objective
from distill.objectives.answer import Answer
from distill.objectives.objective import (
    RATIONALES,
    Objective,
    Piece,
    Target,
    TargetTokens,
    TeacherOutput,
    mean_nll,
    weighted_mean,
)
from distill.objectives.structured import Structured
from distill.training import checkpointing
from distill.training.batches import Batch
from distill.training.student import Student
from distill.training.train import train
from harness import cli
from harness.cli import signature
from harness.core.errors import HarnessError, SampleError
from harness.core.structured import Rationale, render
from harness.core.types import DataOptions, Style
from harness.weights.students import finished_students
from tasks.scienceqa import TASK
from tasks.scienceqa import load as load_questions

FP32 = preset("paper", precision="float32", learning_rate=1e-3, batch_size=4, checkpoint_every=2)


# The file of an objective ...
@dataclass(frozen=True, slots=True, kw_only=True)
class Caption(Objective):
    """The student learns to describe the picture, and most where it is least sure: the focal loss,
    - (1 - p)^sharpness log p (Lin et al., 2017)."""

    name: ClassVar[str] = "caption"
    title: ClassVar[str] = "captions"
    writes: ClassVar[str] = "a caption"
    style: ClassVar[Style] = "plain"
    needs: ClassVar[frozenset[TeacherOutput]] = RATIONALES

    sharpness: float = 1.0

    def targets(self, example: Example) -> tuple[Target, ...]:
        if example.rationale is None:
            raise SampleError("no rationale")
        return (Target((Piece(f" {example.rationale.caption}", 1.0),)),)

    def loss(self, tokens: TargetTokens) -> Tensor:
        chances = tokens.logits.float().log_softmax(-1).gather(1, tokens.labels[:, None])[:, 0]
        return weighted_mean(-((1 - chances.exp()) ** self.sharpness) * chances, tokens.weights)


@pytest.fixture
def caption(monkeypatch: pytest.MonkeyPatch) -> DistillConfig:
    """... and its line in the registry."""
    signature._hints(DistillConfig)  # kept for good, and made of the registry as it is
    monkeypatch.setitem(OBJECTIVES, "caption", Caption)
    return replace(FP32, objective="caption", objective_settings={"sharpness": 2.0})


@pytest.fixture(scope="module")
def examples(drawn: Path) -> list[Example]:
    """Four steps of four drawn questions."""
    samples = load_questions(DataOptions(path=drawn)).samples
    return [
        Example(s, Rationale(s.question, f"A {s.topic} picture.", s.solution, "A"))
        for s in samples[::4]
    ]


@pytest.fixture(scope="module")
def run(tiny: Callable[..., Path], examples: list[Example], tmp_path_factory) -> Callable[..., Any]:
    """`run(out, config)` trains into the folder `out`; features are shared by all."""
    features = tmp_path_factory.mktemp("features")

    def go(out: Path, config: DistillConfig) -> dict[str, Any]:
        train(examples, base=tiny("moondream"), out=out, config=config, features=features)
        found: dict[str, Any] = json.loads((out / "distill.json").read_text())
        return found

    return go


def curve(out: Path) -> list[dict[str, Any]]:
    """The log, less what differs from run to run."""
    rows = [json.loads(line) for line in (out / "training_log.jsonl").read_text().splitlines()]
    hidden = {"seconds", "memory"}
    return [{k: v for k, v in row.items() if k not in hidden} for row in rows]


def unfinished(whole: Path, out: Path, **changes: Any) -> None:
    """Make `out` a copy of a run that was killed after its second step, its record with changes."""
    shutil.copytree(whole, out)
    record = json.loads((out / "distill.json").read_text())
    (out / "distill.json").write_text(json.dumps({**record, "status": "running", **changes}))
    shutil.rmtree(out / "student")
    checkpointing._remove(out / "checkpoints" / "step-00000004")
    assert checkpointing.latest_step(out / "checkpoints") == 2


def test_an_objective_of_ones_own_is_trained_recorded_and_resumed(
    run, caption: DistillConfig, tmp_path: Path
) -> None:
    """Its settings are in the record, in the card and among what must be equal to resume."""
    whole = tmp_path / "whole"
    record = run(whole, caption)
    assert record["objective"] == {
        "name": "caption",
        "title": "captions",
        "style": "plain",
        "settings": {"sharpness": 2.0},
    }
    assert record["fingerprint"]["objective_settings"] == {"sharpness": 2.0}
    assert record["config"]["objective"] == "caption"
    assert recorded_objective(record) is Caption
    assert "distilled on captions" in (whole / "student" / "README.md").read_text()
    assert "caption target" in (whole / "loss.svg").read_text()
    assert finished_students(tmp_path) == []
    unfinished(whole, tmp_path / "cut")
    with pytest.raises(HarnessError, match=r"objective_settings\.sharpness: 2\.0 there, 1\.0 now"):
        run(tmp_path / "cut", replace(caption, objective_settings={}))
    run(tmp_path / "cut", caption)
    assert curve(tmp_path / "cut") == curve(whole)
    assert record["losses"]["last"] < record["losses"]["first"]


def test_an_objective_of_ones_own_on_the_command_line(
    caption: DistillConfig, tiny: Callable[..., Path], drawn: Path, tmp_path: Path
) -> None:
    """The dry run shows it with its settings; it is trained on the teacher's captions."""
    rows = [json.loads(line) for line in (drawn / "test.jsonl").read_text().splitlines()][:4]
    theirs = tmp_path / "theirs.jsonl"
    texts = [
        {"id": row["id"], "rationale": render(Rationale("s", "It is red.", "r", "A"))}
        for row in rows
    ]
    theirs.write_text("".join(json.dumps(text) + "\n" for text in texts))
    shared = ["--data", str(drawn), "--split", "test", "--limit", "4", "--runs", str(tmp_path)]
    made = CliRunner().invoke(
        cli.app, ["distill", "rationales", "--import", str(theirs), "--filter", "format", *shared]
    )
    assert made.exit_code == 0, made.output
    asked = [
        *("distill", "train", *shared, "--base-weights", str(tiny("moondream"))),
        *("--precision", "float32", "--device", "cpu"),
        *("--objective", "caption", "--objective-set", "sharpness=2"),
    ]
    shown = CliRunner().invoke(cli.app, [*asked, "--dry-run"])
    assert shown.exit_code == 0, shown.output
    assert "# Objective   caption: captions, sharpness 2" in shown.stdout
    done = CliRunner().invoke(cli.app, asked)
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "distill" / "moondream-kd" / "distill.json").read_text())
    assert record["objective"]["settings"] == {"sharpness": 2}
    assert record["counts"]["used"] == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective": "structred"}, "Did you mean 'structured'?"),
        ({"objective": "x"}, "The objectives are structured, answer"),
        ({"objective_settings": {"speed": 2}}, "The objective structured has no setting 'speed'"),
        ({"objective_settings": {"conclusion_weight": 2}}, "It has none of its own"),
        ({"objective_settings": 3}, "It takes settings by name"),
        ({"objective": "answer", "without": ("caption",)}, "The targets of answer have no stages"),
    ],
    ids=str,
)
def test_what_cannot_be_chosen_is_refused(changes: Mapping[str, Any], words: str) -> None:
    """The message names the objective, its setting and what there is."""
    with pytest.raises(HarnessError) as caught:
        preset("paper", **changes)
    assert words in str(caught.value)


def test_an_objective_has_the_settings_of_the_config() -> None:
    """Those that the config has as well are taken from it."""
    config = preset("paper", conclusion_weight=4.0, without=("caption",))
    assert objective_of(config) == Structured(conclusion_weight=4.0, without=("caption",))
    assert objective_of(config.with_objective("answer")) == Answer(conclusion_weight=4.0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_says_what_it_is(name: str) -> None:
    """By its own name, with a formula and where it is from."""
    kind = find_objective(name)
    assert kind.name == name
    assert kind.__doc__ is not None
    assert "L(theta) =" in kind.__doc__
    assert "paper" in kind.__doc__


def test_the_mean_of_parts_is_that_of_the_whole() -> None:
    """Each part counts as much as its weights; without any weight the loss is 0."""
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 9), torch.tensor([1, 5, 0, 8, 3, 3])
    weights = torch.tensor([1.0, 0.5, 0.0, 2.0, 1.0, 4.0])

    def part(start: int, end: int) -> tuple[float, float]:
        tokens = TargetTokens(
            logits=logits[start:end], labels=labels[start:end], weights=weights[start:end]
        )
        return float(mean_nll(tokens)), float(weights[start:end].sum())

    whole, total = part(0, 6)
    by_hand = -(logits.log_softmax(-1)[range(6), labels] * weights).sum() / weights.sum()
    assert whole == pytest.approx(float(by_hand), abs=1e-6)
    assert sum(loss * weight for loss, weight in (part(0, 2), part(2, 6))) / total == (
        pytest.approx(whole, abs=1e-6)
    )
    assert part(2, 3)[0] == 0.0


def test_a_record_of_an_earlier_version_is_resumed(run, tmp_path: Path) -> None:
    """It calls the objective a target, and knows no settings of its own."""
    record = run(tmp_path / "whole", replace(FP32, objective="answer"))
    for part in (record["fingerprint"], record["config"]):
        part["target"] = part.pop("objective")
        del part["objective_settings"]
    del record["objective"]
    unfinished(tmp_path / "whole", tmp_path / "cut", **record | {"status": "running"})
    with pytest.raises(HarnessError, match="objective: answer there, structured now"):
        run(tmp_path / "cut", FP32)
    run(tmp_path / "cut", replace(FP32, objective="answer"))
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")
    assert recorded_objective(record) is Answer


def test_a_config_of_an_earlier_version_is_read() -> None:
    """`target`, in a student's folder, in a preset's changes or with --control-set."""
    old = preset("paper").to_json()
    old["target"] = "answer"
    del old["objective"], old["objective_settings"]
    assert DistillConfig.from_json(old) == replace(DistillConfig(), objective="answer")
    assert preset("paper", target="answer").objective == "answer"


@pytest.mark.parametrize("given", [["--target", "answer"], ["--config", "FILE"]], ids=str)
def test_the_former_option_is_understood(
    tiny: Callable[..., Path], drawn: Path, tmp_path: Path, given: list[str]
) -> None:
    """On the command line and in a configuration."""
    file = tmp_path / "old.toml"
    file.write_text('target = "answer"\n')
    asked = [
        *("distill", "train", "--data", str(drawn), "--split", "test", "--dry-run", "--json"),
        *("--base-weights", str(tiny("moondream")), "--runs", str(tmp_path)),
        *(str(file) if each == "FILE" else each for each in given),
    ]
    shown = CliRunner().invoke(cli.app, asked)
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["config"]["objective"] == "answer"


def gradient_error(student: Student, batch: Batch) -> float:
    """How far the slope of the loss along a direction is from what the gradient says, in norms of
    the gradient; the worst of three directions, by central differences."""
    parameters = list(student.trainable())
    student.loss(batch).backward()
    gradient = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
    assert len(gradient) == sum(p.numel() for p in parameters)
    worst, step = 0.0, 1e-5
    for seed in range(3):
        torch.manual_seed(seed)
        along = torch.nn.functional.normalize(torch.randn_like(gradient), dim=0)
        start = torch.nn.utils.parameters_to_vector(parameters).detach().clone()
        ends = []
        for distance in (step, -step):
            torch.nn.utils.vector_to_parameters(start + distance * along, parameters)
            ends.append(float(student.loss(batch).detach()))
        torch.nn.utils.vector_to_parameters(start, parameters)
        slope = (ends[0] - ends[1]) / (2 * step)
        worst = max(worst, abs(slope - float(gradient @ along)) / float(gradient.norm()))
    return worst


@pytest.mark.parametrize("name", [n for n in OBJECTIVES if n != "logits"])  # see test_logits
def test_the_gradient_is_that_of_the_loss(
    tiny: Callable[..., Path], examples: list[Example], tmp_path: Path, name: str
) -> None:
    """Against central differences through the whole tiny student, in float64."""
    config = replace(FP32, objective=name)
    student = Student(tiny("moondream"), config, TASK, features=tmp_path / "features")
    student.learn_from(lambda _, tokens: torch.randn(len(tokens), 512))
    batch = student.encode(examples[:2])
    student.module.double()
    assert batch.features is not None
    exact = replace(
        batch, weights=batch.weights.double(), features=[f.double() for f in batch.features]
    )
    assert gradient_error(student, exact) < 1e-6
