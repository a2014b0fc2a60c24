"""`harness train`: plain training on questions of one's own, and whether the student looks."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from distill.own_questions import MIXED, OPTIONS, SENTENCES, WORDS, task_for
from distill.quality.sight import Sight
from harness.core.types import DataOptions
from harness.metrics.figures import described_by
from tasks import load_task

COLOURS = ("red", "green", "blue", "white")


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Questions answered in a word: eight to train on, four others to test on."""
    folder = tmp_path / "colours"
    (folder / "images").mkdir(parents=True)
    for split, count in (("train", 8), ("test", 4)):
        lines = []
        for number in range(count):
            colour = COLOURS[number % len(COLOURS)]
            name = f"images/{split}-{number}.png"
            Image.new("RGB", (30 + number, 20 + len(split)), colour).save(folder / name)
            row = {"id": f"{split}-{number}", "question": "Which colour?", "answer": colour}
            lines.append(json.dumps({**row, "image": name}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_own_questions_in_words(
    command, words: Path, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    """The task goes by the answers; the student has a name of its own, is the best by validation,
    is told to be blind, and is evaluated by the command that is printed. Its card calls the
    questions by their folder."""
    asked = (
        *("train", "--data", words, "--base-weights", tiny("moondream"), "--eval-every", 1),
        *("--batch-size", 4, "--precision", "float32", "--runs", tmp_path / "runs"),
    )
    result = command(*asked)
    assert result.code == 0, result.stderr
    assert "Task: gqa, by the form of the answers" in result.stderr
    folder = tmp_path / "runs" / "distill" / "moondream-colours"
    student, kept, pictures, blind, evaluation = result.stdout.splitlines()
    assert kept.startswith("The student is that of step 2 of 2, the best of 2 evaluations by Exact")
    assert student == f"Student: {folder / 'student'}"
    assert "of 4 test questions 0 are answered word for word, 0 with grey pictures" in pictures
    assert blind.startswith("The student is blind")
    own = f"--name moondream-colours --runs {tmp_path / 'runs'}"
    asked_again = f"harness eval --model {folder / 'student'} --task gqa --data {words} {own}"
    assert evaluation == asked_again
    card = (folder / "student" / "README.md").read_text()
    assert "| Questions | colours, train |" in card
    assert str(tmp_path) not in card
    sight = (folder / "sight.json").stat().st_mtime_ns
    assert command(*asked, "--json").json["sight"]["blind"]
    assert (folder / "sight.json").stat().st_mtime_ns == sight
    evaluated = command(*shlex.split(evaluation)[1:], "--limit", 2)
    assert evaluated.code == 0, evaluated.stderr
    assert "on colours (GQA) test" in evaluated.stdout
    run = tmp_path / "runs" / "gqa" / "moondream-colours" / "test" / "run.json"
    about = json.loads(run.read_text())["task"]
    assert (about["own_title"], about["synthetic"]) == ("colours", False)


@pytest.mark.parametrize(
    ("row", "task"),
    [
        ({"question": "q", "choices": ["x", "y"], "answer": 0}, "scienceqa"),
        ({"question": "q", "answer": "a red car"}, "gqa"),
        ({"question": "q", "answers": ["It is so because of the light."]}, "vqaonline"),
    ],
)
def test_the_task_goes_by_the_answers(tmp_path: Path, row: dict[str, object], task: str) -> None:
    """Options, a few words, sentences."""
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n")
    assert task_for(DataOptions(path=tmp_path, split="train")) == task


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--set", "objective=structured"], "it is answer already"),
        (["--stage-weight", "conclusion=4"], "No such option"),
    ],
)
def test_what_belongs_to_rationales_is_refused(command, given: list[str], named: str) -> None:
    """Answers have no stages, and no other objective."""
    result = command("train", "--task", "scienceqa-mini", *given, "--dry-run")
    assert result.code == 2
    assert named in result.stderr


def test_no_metric_of_ones_own_questions_has_the_name_of_a_data_set() -> None:
    """They are not MMMU's, though its task asks and scores those of both kinds."""
    for task in map(load_task, (OPTIONS, MIXED, WORDS, SENTENCES)):
        assert not [each for each in described_by(task.metrics) if task.title in each.title]


def test_a_configuration_derives_what_was_not_given(
    command, words: Path, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    """The task by the answers and the name by base and questions are not in what a dry run prints;
    it is read back to the same."""
    shown = command("train", "--data", words, "--base-weights", tiny("moondream"), "--dry-run")
    assert shown.code == 0, shown.stderr
    file = tmp_path / "experiment.toml"
    file.write_text(shown.stdout)
    assert not {"name", "task"} & tomllib.loads(shown.stdout).keys()
    again = command("train", "--config", file, "--dry-run")
    assert "Task: gqa, by the form of the answers" in again.stderr
    assert tomllib.loads(again.stdout) == tomllib.loads(shown.stdout)


def test_questions_with_and_without_options(
    command, words: Path, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    """May be in one file: the letter is learned of the ones, the word of the others."""
    rows = [json.loads(line) for line in (words / "train.jsonl").read_text().splitlines()]
    rows[:2] = [{**row, "choices": ["red", "green"]} for row in rows[:2]]
    (words / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = ("train", "--base-weights", tiny("moondream"), "--precision", "float32", "--json")
    result = command(*asked, "--runs", tmp_path / "runs", "--data", words)
    assert "Task: mmmu, by the form of the answers" in result.stderr
    assert result.json["counts"]["used"] == 8


@pytest.mark.parametrize(
    ("right", "without", "p", "gain", "blind"),
    [
        (80, 66, 0.01, 1.0, False),
        (68, 67, 0.9, 1.0, True),
        (66, 80, 0.01, 1.0, True),
        (0, 0, 1.0, 1.0, False),
        (0, 0, 1.0, 0.1, True),
    ],
)
def test_who_is_blind(right: int, without: int, p: float, gain: float, blind: bool) -> None:
    """Whose answers are no better with the pictures; where none is right, their likelihood."""
    found = Sight(
        questions=100,
        right=right,
        right_without=without,
        p=p,
        gain=gain,
        gain_error=0.1,
        seen=False,
    )
    assert found.blind is blind


def test_few_questions_are_no_proof_of_blindness() -> None:
    """Five right answers that are all lost without the pictures cannot be significant; their
    likelihood can."""
    found = Sight(
        questions=5, right=5, right_without=0, p=0.0625, gain=4.0, gain_error=1.0, seen=False
    )
    assert not found.blind
    assert replace(found, gain=0.1).blind
    assert replace(found, questions=20).blind


def test_questions_that_were_trained_on_are_not_called_test_questions(
    command, words: Path, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    """Of a file without splits every question was trained on; else those that were are left out."""
    (words / "train.jsonl").rename(words / "mine.jsonl")
    (words / "test.jsonl").unlink()
    asked = (
        *("train", "--base-weights", tiny("moondream"), "--precision", "float32", "--json"),
        *("--runs", tmp_path / "runs", "--data"),
    )
    sight = command(*asked, words).json["sight"]
    assert (sight["questions"], sight["seen"]) == (8, True)
    rows = [json.loads(line) for line in (words / "mine.jsonl").read_text().splitlines()]
    (words / "mine.jsonl").rename(words / "train.jsonl")
    rows += [{**rows[0], "id": "new", "image": "images/test-1.png"}]
    (words / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[6:]))
    sight = command(*asked, words, "--fresh").json["sight"]
    assert (sight["questions"], sight["seen"]) == (1, False)
