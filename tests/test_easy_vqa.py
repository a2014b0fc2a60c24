"""benchmarks/easy_vqa.py makes a data folder of the package's files, and names its baseline."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from harness.core.types import DataOptions
from tasks import load_task

QUESTIONS = {
    "train": [["what shape is it?", "circle", 0], ["is it red?", "no", 0], ["is it red?", "no", 1]],
    "test": [["is it red?", "yes", 0], ["is it red?", "no", 1], ["what shape is it?", "circle", 1]],
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "easy_vqa.py"
    spec = importlib.util.spec_from_file_location("easy_vqa_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(script: ModuleType, tmp_path: Path) -> Path:
    for split, questions in QUESTIONS.items():
        images = tmp_path / "package" / split / "images"
        images.mkdir(parents=True)
        for number in (0, 1):
            Image.new("RGB", (64, 64), (number, 0, 0)).save(images / f"{number}.png")
        (images.parent / "questions.json").write_text(json.dumps(questions))
    script.write(tmp_path / "data", tmp_path / "package")
    return tmp_path / "data"


def test_the_folder_is_read_as_questions_with_pictures(script: ModuleType, data: Path) -> None:
    """Each with its own answer and picture; those on one picture are a group."""
    samples = load_task(script.TASK).load(DataOptions(path=str(data), split="test")).samples
    assert [sample.question for sample in samples] == [row[0] for row in QUESTIONS["test"]]
    assert [sample.topic for sample in samples] == ["yes or no", "yes or no", "shape"]
    assert [sample.group for sample in samples] == ["0", "1", "1"]
    assert all(len(sample.images) == 1 for sample in samples)


def test_the_baseline_gives_each_question_its_most_frequent_answer(
    script: ModuleType, data: Path
) -> None:
    """Without a look at the picture: two of the three."""
    assert script.majority(data) == pytest.approx(2 / 3)


def test_the_package_that_is_missing_is_named(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that installs it."""

    def missing(name: str) -> None:
        raise script.PackageNotFoundError(name)

    monkeypatch.setattr(script, "distribution", missing)
    with pytest.raises(SystemExit, match=r"pip install -e '\.\[easy-vqa\]'"):
        script.package_data()
