"""TextVQA as the hub has it: several answers, a column of its own for ids, a repository that moved."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from harness.core.errors import DataError
from harness.core.types import DataOptions, Reference
from tasks import textvqa
from tests.hub_cache import cache_on_hub, without_network

ANSWERS = ["nokia", "nokia", "Nokia", "nokia 6", *["nokia"] * 6]


def picture() -> bytes:
    data = BytesIO()
    Image.new("RGB", (6, 4), "red").save(data, "PNG")
    return data.getvalue()


def table(**changes: list[object]) -> pa.Table:
    """Two rows in the hub's columns."""
    columns: dict[str, list[object]] = {
        "image_id": ["f441", "f442"],
        "question_id": [34602, 34603],
        "question": ["what is the brand?", " what is  it? "],
        "question_tokens": [["what"], ["what"]],
        "image": [{"bytes": picture(), "path": None}] * 2,
        "image_width": [6, 6],
        "answers": [ANSWERS, ["a dog"] * 10],
        "ocr_tokens": [["NOKIA"], []],
        "set_name": ["val", "val"],
    }
    return pa.table({**columns, **changes})


def write(folder: Path, rows: pa.Table) -> Path:
    path = folder / "data" / "validation-00000-of-00003.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(rows, path)
    return folder


@pytest.mark.parametrize("repo", ["lmms-lab/textvqa", "lmms-lab-encoder/textvqa"])
def test_a_cache_by_either_name_is_read(
    repo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids, ten answers in their order, the picture; the record names the repository it came from."""
    without_network(tmp_path, monkeypatch)
    cache_on_hub(tmp_path, repo, write(tmp_path / "copy", table()))
    data = textvqa.load(DataOptions(split="validation"))
    assert [sample.id for sample in data.samples] == ["34602", "34603"]
    assert data.samples[0].target == tuple(map(Reference, ANSWERS))
    assert data.samples[1].question == "what is it?"
    assert data.samples[0].images[0].decode().size == (6, 4)
    assert (data.source, data.licence) == (repo, "CC BY 4.0")


def test_what_is_in_no_cache_is_fetched_by_its_present_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command names the repository where it is now."""
    without_network(tmp_path, monkeypatch)
    with pytest.raises(DataError) as caught:
        textvqa.load(DataOptions(split="validation"))
    assert "--repo-type dataset lmms-lab-encoder/textvqa" in caught.value.remedy


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (table().drop_columns(["answers"]), "row 1, field 'answer': missing"),
        (table(answers=[[], ["x"]]), r"row 1, field 'answers'.*found \[\] \(list of 0\)"),
        (table(question_id=[7, 7]), "'7' .*is there twice"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(rows: pa.Table, message: str, tmp_path: Path) -> None:
    """The column is named, with the columns that are there."""
    with pytest.raises(DataError, match=message) as caught:
        textvqa.load(DataOptions(path=write(tmp_path, rows), split="validation"))
    if "missing" in message:
        assert "ocr_tokens" in caught.value.known


def test_a_short_answer_is_asked_for_in_the_usual_words(tmp_path: Path) -> None:
    """In the style direct alone; a model that takes the question by itself has it bare."""
    (sample, _) = textvqa.load(
        DataOptions(path=write(tmp_path, table()), split="validation")
    ).samples
    asked = textvqa.TASK.prompt(sample, "direct")
    assert asked.text == ("what is the brand?\nAnswer the question using a single word or phrase.")
    assert asked.question == textvqa.TASK.prompt(sample, "plain").text == "what is the brand?"
