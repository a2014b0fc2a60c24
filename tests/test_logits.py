"""Soft labels: the divergence by hand, the teacher's logits on disk, and a student of both."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from distill.config import preset
from distill.examples import Example
from distill.layout import Workspace
from distill.objectives import objective_of
from distill.objectives.logits import Logits, divergence
from distill.objectives.objective import TargetTokens, TopLogits, mean_nll
from distill.objectives.structured import Structured
from distill.options import RationaleOptions
from distill.questions import Questions
from distill.rationales.collect import Teaching, collect_rationales
from distill.rationales.kept import load_examples
from distill.rationales.logit_collection import check_teacher, collect_logits
from distill.rationales.logits import folder_of_logits, keep_highest, read_logits
from distill.rationales.prompt import teacher_task
from distill.rationales.teacher_scores import TeacherScores
from distill.training.student import Student
from distill.training.students import Training, train_student
from distill.training.train import train
from harness import cli
from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import DataError, HarnessError, SampleError
from harness.core.options import ModelOptions, ServerOptions
from harness.core.structured import Rationale, render
from harness.core.types import DataOptions
from harness.models.loading import LoadOptions, load
from harness.run.task_data import Data
from tasks import load_task
from tests.test_objectives import curve, gradient_error, unfinished

TASK = load_task("scienceqa")
CONFIG = preset(
    "paper",
    objective="logits",
    objective_settings={"top_k": 8},
    precision="float32",
    learning_rate=1e-3,
    batch_size=4,
    epochs=2,
    checkpoint_every=2,
)
OBJECTIVE = objective_of(CONFIG)


# The loss


def test_the_divergence_by_hand() -> None:
    """Two kept tokens of three, temperature 2: p = (1, 1/e) / (1 + 1/e) over the kept ones, the
    student's over all three."""
    teacher = TopLogits(torch.tensor([[2, 0]]), torch.tensor([[0.0, -2.0]]))
    student = torch.tensor([[4.0, 0.0, 2.0]])
    first = 1 / (1 + math.exp(-1))
    p = (first, 1 - first)
    total = math.exp(2) + 1 + math.exp(1)
    q = (math.exp(1) / total, math.exp(2) / total)
    expected = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert float(divergence(teacher, student, 2.0)) == pytest.approx(expected, abs=1e-6)


def test_the_others_count_as_one() -> None:
    """Two kept tokens of four and what the other two amount to, temperature 2, by hand."""
    teacher, student = torch.tensor([[3.0, 1.0, 2.0, -1.0]]), torch.tensor([[0.5, 2.0, -1.0, 1.0]])
    kept = keep_highest(teacher, 2, temperature=2.0)
    assert kept.ids.tolist() == [[0, 2]]
    p, q = ((each[0] / 2).softmax(-1).tolist() for each in (teacher, student))
    pairs = [(p[0], q[0]), (p[2], q[2]), (p[1] + p[3], q[1] + q[3])]
    expected = sum(a * math.log(a / b) for a, b in pairs)
    assert float(divergence(kept, student, 2.0)) == pytest.approx(expected, abs=1e-3)  # float16
    assert abs(float(divergence(kept, teacher, 2.0))) < 1e-6


def test_the_loss_is_the_weighted_mean_of_both() -> None:
    """(1 - a) times equation 1 and a tau^2 times the mean divergence, by torch's own functions."""
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 7), torch.randn(5, 7)
    labels, weights = torch.tensor([1, 0, 6, 6, 2]), torch.tensor([1.0, 2.0, 0.0, 1.0, 0.5])
    tokens = TargetTokens(
        logits=student,
        labels=labels,
        weights=weights,
        teacher=TopLogits(torch.arange(7).repeat(5, 1), teacher),
    )
    each = torch.nn.functional.kl_div(
        (student / 3).log_softmax(-1), (teacher / 3).softmax(-1), reduction="none"
    ).sum(-1)
    soft = (each * weights).sum() / weights.sum()
    found = Logits(temperature=3.0, weight=0.25, top_k=7).loss(tokens)
    assert float(found) == pytest.approx(float(0.75 * mean_nll(tokens) + 0.25 * 9 * soft), abs=1e-5)
    plain = Logits(weight=0.0).loss(tokens)
    assert float(plain) == pytest.approx(float(Structured().loss(tokens)), abs=1e-6)


def test_the_highest_are_kept() -> None:
    """In float16, as differences from the highest, the others together; of few tokens all."""
    logits = torch.tensor([[1.0, 5.0, 3.0, -2.0]])
    kept = keep_highest(logits, 2, temperature=1.0)
    assert kept.ids.tolist() == [[1, 2]]
    others = math.log(math.exp(1) + math.exp(-2)) - 5
    assert kept.logits[0].tolist() == pytest.approx([0.0, -2.0, others], abs=2e-3)
    assert kept.logits.dtype == torch.float16
    every = keep_highest(logits, 9, temperature=1.0)
    assert every.ids.tolist() == [[1, 2, 0, 3]]
    assert every.logits.shape == (1, 4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": 0}, "temperature cannot be 0"),
        ({"weight": 1.5}, "from 0 to 1"),
        ({"top_k": 2.5}, "a whole number"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], words: str) -> None:
    """By name, with what they take."""
    with pytest.raises(HarnessError) as caught:
        preset("paper", objective="logits", objective_settings=settings)
    assert words in str(caught.value)


# The teacher


@pytest.fixture(scope="module")
def questions(drawn: Path) -> Questions:
    return Questions(data=Data(TASK, DataOptions(path=drawn)), limit=6)


@pytest.fixture(scope="module")
def teaching(tiny: Callable[..., Path]) -> Teaching:
    """Another tiny Moondream, which has the vocabulary of the student."""
    return Teaching(
        teacher=ModelOptions(
            model="moondream", weights=str(tiny("moondream", 1)), device="cpu", dtype="float32"
        ),
        options=RationaleOptions(inputs=("question",)),
    )


@pytest.fixture(scope="module")
def workspace(questions: Questions, teaching: Teaching, tmp_path_factory) -> Workspace:
    """With rationales that were imported, and without logits."""
    folder = tmp_path_factory.mktemp("distillation")
    file = folder / "theirs.jsonl"
    texts = [
        {"id": s.id, "rationale": render(Rationale("Look.", "A map.", s.solution, "A"))}
        for s in questions.selected()
    ]
    file.write_text("".join(json.dumps(text) + "\n" for text in texts))
    made = Workspace(runs=folder / "runs", name="kd")
    collect_rationales(made, questions, replace(teaching, imported=file))
    return made


@pytest.fixture(scope="module")
def collected(
    workspace: Workspace, questions: Questions, teaching: Teaching, tiny: Callable[..., Path]
) -> dict[str, Any]:
    """The record of the stage."""
    with pytest.raises(DataError, match="has no logits of the teacher") as caught:
        load_examples(workspace, questions, objective=OBJECTIVE)
    assert caught.value.remedy == "harness distill logits --name kd"
    return collect_logits(
        workspace, questions, teaching, base=tiny("moondream"), objective=OBJECTIVE
    )


@pytest.fixture
def examples(workspace: Workspace, questions: Questions, collected: object) -> list[Example]:
    del collected
    return load_examples(workspace, questions, objective=OBJECTIVE)


def test_what_is_kept_are_the_teachers_own_logits(
    workspace: Workspace,
    collected: dict[str, Any],
    examples: list[Example],
    tiny: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """By a plain forward pass over its prompt and the tokens that the student learns; a few bytes
    a token."""
    assert collected["counts"] == {"examples": 6, "there": 6, "failed": {}}
    record = json.loads((workspace.folder / "logits.json").read_text())
    assert record["teacher"]["title"] == "Moondream"
    student = Student(tiny("moondream"), CONFIG, TASK, features=tmp_path)
    model: Any = load(
        find_checkpoint("moondream", weights=str(tiny("moondream", 1))),
        LoadOptions(device="cpu", dtype="float32"),
    )
    example = examples[2]
    (row,) = student.rows(example)
    tokens = [label for label in row.labels if label != -100]
    prompt = teacher_task(TASK, ("question",)).prompt(example.sample, "structured")
    (prepared,) = model.prepare([prompt])
    inputs = {**prepared.inputs}
    asked = inputs["input_ids"].shape[1]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([tokens])], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with torch.no_grad():
        logits = model.network(**inputs).logits[0, asked - 1 : -1]
    kept = read_logits(example)
    highest = logits[:, :500].topk(8)
    assert torch.equal(kept.ids, highest.indices)
    expected = highest.values - highest.values[:, :1]
    assert torch.allclose(kept.logits[:, :8].float(), expected, atol=2e-3)
    p = (kept.logits.float() / 2).softmax(-1)
    assert torch.allclose(p[:, :8], (logits / 2).softmax(-1).gather(1, kept.ids), atol=1e-3)
    assert len(kept.ids) == len(tokens)
    assert example.logits is not None
    assert example.logits.stat().st_size < 200 + len(tokens) * (8 * 4 + 2)


def test_what_is_missing_is_computed(
    workspace: Workspace,
    questions: Questions,
    teaching: Teaching,
    examples: list[Example],
    tiny: Callable[..., Path],
) -> None:
    """And nothing else; where all are there the teacher is needed no more."""
    paths = [example.logits for example in examples]
    before = [path.stat().st_mtime_ns for path in paths]
    data = paths[0].read_bytes()
    paths[0].unlink()
    collect = {"base": tiny("moondream"), "objective": OBJECTIVE}
    collect_logits(workspace, questions, teaching, **collect)
    after = [path.stat().st_mtime_ns for path in paths]
    assert paths[0].read_bytes() == data
    assert [a == b for a, b in zip(after, before, strict=True)] == [False] + [True] * 5
    gone = replace(teaching, teacher=ModelOptions(model="moondream", weights="./gone"))
    check_teacher(gone, tiny("moondream"))
    assert collect_logits(workspace, questions, gone, **collect)["counts"]["there"] == 6
    paths[0].unlink()
    with pytest.raises(HarnessError, match="gone"):
        collect_logits(workspace, questions, gone, **collect)
    assert read_error(load_examples(workspace, questions, objective=OBJECTIVE)[0]) == (
        "no logits of the teacher"
    )
    paths[0].write_bytes(data)


def read_error(example: Example) -> str:
    with pytest.raises(SampleError) as caught:
        read_logits(example)
    return str(caught.value)


@pytest.mark.usefixtures("collected")
def test_logits_of_an_earlier_version_are_learned_as_they_are(
    workspace: Workspace,
    questions: Questions,
    teaching: Teaching,
    tiny: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Without what the other tokens amount to, and for any temperature."""
    other = Workspace(runs=tmp_path, name=workspace.name)
    shutil.copytree(workspace.folder, other.folder)
    record = json.loads((other.folder / "logits.json").read_text())
    key = folder_of_logits(other, record["fingerprint"])
    del record["fingerprint"]["temperature"]
    key.rename(folder_of_logits(other, record["fingerprint"]))
    (other.folder / "logits.json").write_text(json.dumps(record))
    for path in other.folder.glob("logits/*/*"):
        tensors = load_file(path)
        save_file({**tensors, "logits": tensors["logits"][:, :8].contiguous()}, path)
    times = {path: path.stat().st_mtime_ns for path in other.folder.glob("logits/*/*")}
    collect_logits(other, questions, teaching, base=tiny("moondream"), objective=OBJECTIVE)
    assert {p: p.stat().st_mtime_ns for p in other.folder.glob("logits/*/*")} == times
    hotter = objective_of(replace(CONFIG, objective_settings={"top_k": 8, "temperature": 4.0}))
    (example, *_) = load_examples(other, questions, objective=hotter)
    kept = read_logits(example)
    assert kept.logits.shape == kept.ids.shape


def test_other_logits_are_not_learned(
    workspace: Workspace, questions: Questions, examples: list[Example]
) -> None:
    """Fewer than the objective needs, or of another temperature; damaged ones."""
    hotter = objective_of(replace(CONFIG, objective_settings={"top_k": 8, "temperature": 4.0}))
    with pytest.raises(DataError, match=r"temperature: 2\.0 there, 4\.0 now"):
        load_examples(workspace, questions, objective=hotter)
    more = objective_of(replace(CONFIG, objective_settings={"top_k": 9}))
    with pytest.raises(DataError, match="top_k: 8 there, 9 now"):
        load_examples(workspace, questions, objective=more)
    path = examples[0].logits
    data = path.read_bytes()
    path.write_bytes(data[:50])
    assert "cannot be read" in read_error(examples[0])
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "words"), [("llava-cot", "The end tokens are"), ("phi-3.5", "Only the teacher has")]
)
def test_another_vocabulary_is_refused(
    teaching: Teaching, tiny: Callable[..., Path], name: str, words: str
) -> None:
    """In those words, with what only one of them has."""
    other = replace(
        teaching, teacher=ModelOptions(model=str(tiny(name)), device="cpu", dtype="float32")
    )
    with pytest.raises(HarnessError) as caught:
        check_teacher(other, tiny("moondream"))
    assert "only where the vocabularies are equal, or can be mapped" in str(caught.value)
    assert words in str(caught.value)
    assert "--objective structured" in str(caught.value)


@pytest.fixture(scope="module")
def permuted(
    teaching: Teaching, tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Teaching:
    """The teacher with its ordinary tokens under other ids, and a special token of its own."""
    folder = tmp_path_factory.mktemp("permuted") / "teacher"
    shutil.copytree(tiny("moondream", 1), folder)
    file = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = file["model"]["vocab"]
    special = {each["id"] for each in file["added_tokens"]}
    ids = sorted(set(vocabulary.values()) - special)
    moved = dict(zip(ids, [*ids[7:], *ids[:7]], strict=True))
    file["model"]["vocab"] = {token: moved.get(i, i) for token, i in vocabulary.items()}
    added = {**file["added_tokens"][0], "id": max(vocabulary.values()) + 1, "content": "<|own|>"}
    file["added_tokens"].append(added)
    (folder / "tokenizer.json").write_text(json.dumps(file))
    tensors = load_file(folder / "model.safetensors")
    for name in ("embd.wte.weight", "lm_head.linear.weight", "lm_head.linear.bias"):
        (key,) = (each for each in tensors if each.endswith(name))
        rows = tensors[key].clone()
        rows[list(moved.values())] = tensors[key][list(moved)]
        tensors[key] = rows
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return replace(teaching, teacher=replace(teaching.teacher, weights=str(folder)))


@pytest.fixture
def mapped(
    workspace: Workspace,
    questions: Questions,
    permuted: Teaching,
    tiny: Callable[..., Path],
    tmp_path: Path,
) -> list[Example]:
    """The examples with the logits of that teacher."""
    there = Workspace(runs=tmp_path, name="kd")
    shutil.copytree(workspace.folder, there.folder, ignore=shutil.ignore_patterns("logits*"))
    collect_logits(there, questions, permuted, base=tiny("moondream"), objective=OBJECTIVE)
    return load_examples(there, questions, objective=OBJECTIVE)


def test_a_vocabulary_of_other_ids_is_mapped(
    examples: list[Example], mapped: list[Example]
) -> None:
    """The same teacher with its tokens in another order gives the same logits."""
    for found, plain in zip(map(read_logits, mapped), map(read_logits, examples), strict=True):
        assert torch.equal(found.ids, plain.ids)
        assert torch.allclose(found.logits, plain.logits, atol=1e-2)


def test_scores_of_another_vocabulary_are_mapped(
    questions: Questions, teaching: Teaching, permuted: Teaching, tiny: Callable[..., Path]
) -> None:
    """On-policy: the same at each of the student's tokens, whatever the teacher calls it; and where
    the student writes what is no token."""
    example = Example(questions.selected()[0], None)
    found = [
        TeacherScores(each, questions, tiny("moondream"))(example, [90, 300, 7, 509, 91])
        for each in (permuted, teaching)
    ]
    assert found[0].shape == (5, 500)
    assert torch.allclose(*found, atol=1e-4)


def test_a_server_gives_no_logits(teaching: Teaching, tiny: Callable[..., Path]) -> None:
    """The weights have to be here."""
    served = ModelOptions(model="openai:big", server=ServerOptions(base_url="http://127.0.0.1:9"))
    with pytest.raises(HarnessError, match="are computed from its weights"):
        check_teacher(replace(teaching, teacher=served), tiny("moondream"))


# The student


def test_the_loss_is_that_of_plain_forward_passes(
    examples: list[Example], tiny: Callable[..., Path], tmp_path: Path
) -> None:
    """Padding and batching change nothing: the mean of the examples' own losses by their tokens."""
    student = Student(tiny("moondream"), CONFIG, TASK, features=tmp_path)
    batch = student.encode(examples)
    total = 0.0
    for example in examples:
        (row,) = student.rows(example)
        alone = student.encode([example])
        with torch.no_grad():
            model: Any = student._model
            logits = model(input_ids=alone.ids, image_features=torch.stack(alone.features)).logits[
                0
            ]
        places = [place for place, label in enumerate(row.labels) if label != -100]
        labels = torch.tensor([row.labels[place] for place in places])
        logits = logits[[place - 1 for place in places]]
        kept = read_logits(example)
        wanted = (kept.logits.float() / 2).softmax(-1)
        every = (logits / 2).log_softmax(-1)
        found = every.gather(1, kept.ids)
        others = (1 - found.double().exp().sum(-1, keepdim=True)).log()
        found = torch.cat([found, others.float()], dim=1)
        soft = (wanted * (wanted.log() - found)).sum()
        hard = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
        total += float(0.5 * hard + 0.5 * 4 * soft)
    assert student.loss(batch).item() == pytest.approx(total / batch.weight, abs=1e-5)


def test_the_gradient_is_that_of_the_loss(
    examples: list[Example], tiny: Callable[..., Path], tmp_path: Path
) -> None:
    """Against central differences through the whole tiny student, in float64."""
    student = Student(tiny("moondream"), CONFIG, TASK, features=tmp_path)
    student.module.double()
    batch = student.encode(examples[:2])
    assert batch.features is not None
    exact = replace(
        batch, weights=batch.weights.double(), features=[f.double() for f in batch.features]
    )
    assert gradient_error(student, exact) < 1e-6


def test_a_run_learns_them_and_is_resumed(
    examples: list[Example], tiny: Callable[..., Path], tmp_path: Path
) -> None:
    """The curve goes on as it was, with accumulation too; other logits are another run."""
    base, features = tiny("moondream"), tmp_path / "features"
    whole = tmp_path / "whole"
    train(examples, base=base, out=whole, config=CONFIG, features=features)
    record = json.loads((whole / "distill.json").read_text())
    assert record["objective"]["settings"] == {"temperature": 2.0, "weight": 0.5, "top_k": 8}
    assert record["losses"]["last"] < record["losses"]["first"]
    unfinished(whole, tmp_path / "cut")
    accumulated = replace(CONFIG, accumulation=2)
    train(examples, base=base, out=tmp_path / "cut", config=accumulated, features=features)
    for line, other in zip(curve(tmp_path / "cut"), curve(whole), strict=True):
        assert line["loss"] == pytest.approx(other["loss"], abs=1e-6)
    bare = [replace(example, logits=None) for example in examples]
    with pytest.raises(HarnessError, match="data"):
        train(bare, base=base, out=whole, config=CONFIG, features=features)
    some = [*bare[:2], *examples[2:]]
    train(some, base=base, out=tmp_path / "some", config=CONFIG, features=features)
    record = json.loads((tmp_path / "some" / "distill.json").read_text())
    assert record["counts"]["left_out"] == {"no logits of the teacher": 2}


def test_the_teacher_itself_has_nothing_to_learn(
    examples: list[Example], tiny: Callable[..., Path], tmp_path: Path
) -> None:
    """Asked in the same words, of all its logits or of a few: the divergence is what float16 leaves
    of it."""
    student = Student(
        tiny("moondream"),
        replace(CONFIG, objective_settings={"top_k": 512, "weight": 1.0}),
        TASK,
        features=tmp_path,
    )
    batch = student.encode(examples[:2])
    with torch.no_grad():
        model: Any = student._model
        logits = model(input_ids=batch.ids, image_features=torch.stack(batch.features)).logits
    targets = logits[:, :-1][batch.labels[:, 1:] != -100]
    for count in (targets.shape[-1], 3):
        itself = keep_highest(targets, count, temperature=2.0)
        assert abs(student.loss(replace(batch, teacher=itself)).item()) < 1e-5


def test_the_card_names_whose_logits_were_learned(
    workspace: Workspace,
    questions: Questions,
    examples: list[Example],
    tiny: Callable[..., Path],
) -> None:
    """With the licence: whoever passes the student on is bound by it."""
    base = ModelOptions(model="moondream", weights=str(tiny("moondream")))
    training = Training(base=base, config=CONFIG, preset="paper", device="cpu")
    folder = train_student(workspace, questions, training, examples=examples)
    assert "| Logits | Moondream | apache-2.0 |" in (folder / "README.md").read_text()


# The command line


def test_the_stage_by_its_command(
    workspace: Workspace, collected: object, tiny: Callable[..., Path]
) -> None:
    """It finds the questions of the rationales, and what is there already; another vocabulary is
    refused before anything is computed."""
    del collected
    asked = [
        *("distill", "logits", "--runs", str(workspace.runs), "--name", workspace.name),
        *("--base-weights", str(tiny("moondream")), "--device", "cpu", "--dtype", "float32"),
        *("--teacher-input", "question", "--objective-set", "top_k=8"),
    ]
    own = ["--teacher", "moondream", "--teacher-weights", str(tiny("moondream", 1))]
    done = CliRunner().invoke(cli.app, [*asked, *own])
    assert done.exit_code == 0, done.output
    assert "Logits by moondream: 6 of 6 rationales, 0." in done.stdout
    other = ["--teacher-weights", str(tiny("llava-cot"))]
    refused = CliRunner().invoke(cli.app, [*asked, *other])
    assert isinstance(refused.exception, HarnessError)
    assert "only where the vocabularies are equal" in str(refused.exception)


def test_a_dry_run_says_what_is_in_the_way(
    drawn: Path, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    """How much would be kept, and that this teacher's logits cannot be learned."""
    shown = CliRunner().invoke(
        cli.app,
        [
            *("distill", "--data", str(drawn), "--split", "test", "--limit", "4", "--dry-run"),
            *("--teacher-weights", str(tiny("llava-cot")), "--objective", "logits"),
            *("--base-weights", str(tiny("moondream")), "--runs", str(tmp_path)),
        ],
    )
    assert shown.exit_code == 3, shown.output
    assert "# Logits      the teacher's 20 highest at each target token" in shown.stdout
    assert "# Missing: The teacher's logits can be learned only where the" in shown.stdout
