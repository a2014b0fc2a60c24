"""docs/data.md says what data may hold: each value of its table loads."""

from __future__ import annotations

import base64
import csv
import json
import re
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from harness.core.types import DataOptions, Sample, references
from harness.data.answer_keys import LETTERS
from harness.data.schema import FIELDS
from harness.run.answers_file import score_file
from harness.run.folder import RunFolder
from tasks import load_task, scienceqa

PAGE = Path(__file__).resolve().parents[1] / "docs" / "data.md"


def values() -> list[str]:
    table = PAGE.read_text(encoding="utf-8").partition("<!-- values")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()[3:]]
    return [value for cell in cells for value in re.findall("`([^`]+)`", cell)]


@pytest.mark.parametrize("value", values())
def test_each_value_of_the_table_is_the_picture(value: str, tmp_path: Path) -> None:
    """As a line of JSONL has it."""
    file = BytesIO()
    Image.new("RGB", (6, 4), "red").save(file, "PNG")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "red.png").write_bytes(file.getvalue())
    text = value.replace("BASE64", base64.b64encode(file.getvalue()).decode())
    row = {"question": "q", "choices": ["x", "y"], "answer": 0, "image": json.loads(text)}
    (tmp_path / "test.jsonl").write_text(json.dumps(row) + "\n")
    (sample,) = scienceqa.load(DataOptions(path=tmp_path)).samples
    assert [image.read() for image in sample.images] == [file.getvalue()]


def rows(name: str) -> list[str]:
    """The lines of the block below that comment."""
    block = PAGE.read_text(encoding="utf-8").partition(f"<!-- {name}:")[2]
    return block.partition("```json\n")[2].partition("```")[0].splitlines()


def load(task: str, line: str, folder: Path) -> Sample:
    Image.new("RGB", (6, 4), "red").save(folder / "red.png")
    (folder / "test.jsonl").write_text(f"{line}\n")
    (sample,) = load_task(task).load(DataOptions(path=folder)).samples
    assert len(sample.images) == 1
    return sample


@pytest.mark.parametrize("line", rows("choices"))
def test_each_form_of_a_choice_is_the_second_option(line: str, tmp_path: Path) -> None:
    """By its place, its letter or its text."""
    sample = load("scienceqa", line, tmp_path)
    assert (sample.choices, sample.target) == (("blue", "red"), 1)


@pytest.mark.parametrize("line", rows("open"))
def test_each_form_of_an_open_answer_is_loaded(line: str, tmp_path: Path) -> None:
    """With all that is accepted, its weight and its role."""
    given = json.loads(line)
    accepted = references(load("vqaonline", line, tmp_path).target)
    assert accepted[0].text == "red"
    assert len(accepted) == len(given.get("answers", ["red"]))
    assert (accepted[0].weight == 0.5) == ("weight" in line)
    assert (accepted[0].role == "maybe") == ("maybe" in line)


@pytest.mark.parametrize("line", rows("scored"))
def test_each_form_of_an_answer_made_elsewhere_is_scored(line: str, tmp_path: Path) -> None:
    """As right, with its group and topic."""
    given = json.loads(line)
    task = "scienceqa" if {"choices", "options"} & set(given) else "textvqa"
    file = tmp_path / "answers.jsonl"
    file.write_text(f"{line}\n")
    run = score_file(file, load_task(task), label="x", runs=tmp_path)
    (prediction,) = RunFolder(run.folder).read_predictions()
    assert prediction.text == "red"
    assert prediction.references[0] == "red"
    assert (prediction.group, prediction.topic) == (
        given.get("group", ""),
        given.get("category", ""),
    )
    assert prediction.finish == ("stop" if {"finished", "finish_reason"} & set(given) else "")


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize("name", ["choices", "list", "open"])
def test_each_table_is_loaded(name: str, suffix: str, tmp_path: Path) -> None:
    """With its options or all accepted answers, from commas and from tabs."""
    block = PAGE.read_text(encoding="utf-8").partition(f"<!-- {name}.csv -->\n```csv\n")[2]
    lines = list(csv.reader(block.partition("```")[0].splitlines()))
    with (tmp_path / f"test.{suffix}").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t" if suffix == "tsv" else ",").writerows(lines)
    Image.new("RGB", (6, 4), "red").save(tmp_path / "red.png")
    task = "vqaonline" if name == "open" else "scienceqa"
    (sample,) = load_task(task).load(DataOptions(path=tmp_path)).samples
    assert (sample.id, len(sample.images)) == ("7", 1)
    if name == "open":
        assert [each.text for each in references(sample.target)] == ["red", "scarlet"]
    else:
        assert (sample.choices, sample.target) == (("blue", "red"), 1)


def test_the_page_is_read() -> None:
    """A table or a block that is not found would test nothing; every field that is read is named."""
    assert len(values()) >= 9
    assert [len(rows(name)) for name in ("choices", "open", "scored")] == [5, 4, 4]
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in FIELDS - {*LETTERS, "index"})
