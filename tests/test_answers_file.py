"""Files of answers that were made elsewhere: what a row may hold, and what is said of one that does
not fit."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import DataError
from harness.core.types import Prediction, Reference
from harness.data import text
from harness.run.answers_file import score_file
from harness.run.folder import RunFolder
from tasks import load_task
from tests.hostile import HOSTILE

CHOICE = {"id": 1, "raw": "B", "choices": ["x", "y"]}
OPEN = {"id": 1, "raw": "a cat"}
HUGE = 10**400

Read = Callable[..., list[Prediction]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Scores rows as answers to a task, and gives the predictions of the run."""

    def score(task: str, *rows: dict[str, Any]) -> list[Prediction]:
        file = tmp_path / "answers.jsonl"
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        run = score_file(file, load_task(task), label="x", runs=tmp_path, bertscore=None)
        return RunFolder(run.folder).read_predictions()

    return score


@pytest.mark.parametrize("name", ["target", "answer", "answers"])
@pytest.mark.parametrize("key", [1, "B", "(B)", "B.", "y", " y ", "Y"])
def test_the_right_option_is_a_place_a_letter_or_a_text(read: Read, name: str, key: object) -> None:
    """The same option, the same score."""
    (prediction,) = read("scienceqa", {**CHOICE, name: key})
    assert (prediction.target, prediction.scores) == (1, {"accuracy": 1.0})


@pytest.mark.parametrize(
    "key", [None, True, 2, -1, 1.0, HUGE, "C", "", "1", [1], ["B"], {"text": "y"}], ids=ascii
)
def test_what_is_no_option_is_refused(read: Read, key: object) -> None:
    """With the line, the field, what it must be, and the page that describes the format."""
    with pytest.raises(DataError, match=r"line 1, field 'target': .*its letter, A to B, or") as e:
        read("scienceqa", {**CHOICE, "target": key})
    assert "docs/data.md" in e.value.remedy


def test_what_can_be_two_options_is_refused(read: Read) -> None:
    """A letter that is the text of another option; a text that two options have."""
    for choices, key in ((["B", "A"], "A"), (["x", "x"], "x")):
        with pytest.raises(DataError, match="this can be 2 of them"):
            read("scienceqa", {**CHOICE, "choices": choices, "target": key})


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ("cat", "cat"),
        (["cat"], "cat"),
        (5, "5"),
        (["cat", 5], (Reference("cat"), Reference("5"))),
        (["cat", "cat", ""], (Reference("cat"), Reference("cat"), Reference(""))),
        ([{"text": "cat", "weight": 2}], (Reference("cat", 2.0),)),
        (["cat", {"text": "a"}], (Reference("cat"), Reference("a"))),
        (
            [{"answer": "cat", "answer_confidence": "maybe", "answer_id": 1}],
            (Reference("cat", 1.0, "maybe"),),
        ),
    ],
    ids=ascii,
)
def test_accepted_texts_come_in_many_forms(read: Read, given: object, target: object) -> None:
    """A text, a number, a list of them, objects with weight and role; each is in the run."""
    (prediction,) = read("vqaonline", {**OPEN, "answers": given})
    assert prediction.target == target


@pytest.mark.parametrize(
    "given",
    [
        *([], "", "  ", [""], ["", " "], True, [True], [None], [["cat"]], [float("nan")], HUGE),
        *({"text": "cat"}, [{}], [{"weight": 1}], [{"text": "cat", "weight": -1}]),
        *([{"text": "c", "weight": w}] for w in ("2", None, True, HUGE, float("inf"))),
    ],
    ids=lambda given: ascii(given)[:40],
)
def test_what_is_no_accepted_text_is_refused(read: Read, given: object) -> None:
    """With the field and the page; never a traceback."""
    with pytest.raises(DataError, match="line 1, field 'answers': must") as error:
        read("vqaonline", {**OPEN, "answers": given})
    assert "docs/data.md" in error.value.remedy


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"group": ["a"]}, "group"),
        ({"category": 7}, "category"),
        ({"id": 1.5}, "id"),
        ({"id": ""}, "id"),
        ({"raw": None}, "raw"),
        ({"choices": "xy"}, "choices"),
        ({"choices": ["x"]}, "choices"),
        ({"choices": None, "options": ["x", 3]}, "options"),
        ({"finished": "yes"}, "finished"),
    ],
)
def test_an_error_names_the_field(read: Read, part: dict[str, Any], field: str) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(DataError, match=f"line 1, field '{field}'"):
        read("scienceqa", {**CHOICE, "target": 0, **part})


def test_group_and_category_are_kept(read: Read) -> None:
    """`category` is the topic where there is none; `options` are the choices."""
    row = {"id": 1, "raw": "B", "options": ["x", "y"], "target": 0, "group": 3, "category": "c"}
    (prediction,) = read("scienceqa", row)
    assert (prediction.group, prediction.topic, prediction.choices) == ("3", "c", ("x", "y"))


def test_one_reference_is_kept_as_it_is_written(read: Read) -> None:
    """Its lines and spaces too: the same answers give the same figures as they gave before."""
    written = "def f():\n    return 1\n"
    (prediction,) = read("vqaonline", {**OPEN, "answer": written})
    assert prediction.target == written


def test_ten_thousand_references(read: Read) -> None:
    """All are kept and looked at, the last one too."""
    answers = [*(f"dog {i}" for i in range(9_990)), *["a cat"] * 10]
    (prediction,) = read("textvqa", {**OPEN, "answers": answers})
    assert len(prediction.references) == 10_000
    assert prediction.scores == {"vqa_accuracy": 1.0}


@pytest.mark.parametrize("string", HOSTILE, ids=ascii)
def test_any_string_is_kept_as_it_is(read: Read, string: str) -> None:
    """In a question, in what a model wrote, as a group and among the references."""
    given = {"raw": string, "question": string, "group": string, "answers": ["cat", string]}
    (prediction,) = read("vqaonline", {**OPEN, **given})
    assert (prediction.raw, prediction.question, prediction.group) == (string,) * 3
    assert prediction.references[0] == "cat"


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_packed_files_are_read(command, tmp_path: Path, suffix: str, pack: Any) -> None:
    """As they are published; the model is called after the file, without its endings."""
    file = tmp_path / f"mine.jsonl{suffix}"
    packed = pack(json.dumps({**CHOICE, "target": 1}).encode())
    file.write_bytes(packed)
    run = command("score", file, "-t", "scienceqa", "--runs", tmp_path / "runs", "--json").json
    assert (run["model"]["name"], run["metrics"]["accuracy"]["value"]) == ("mine", 1.0)
    for damaged in (packed[:-5], b"no archive", packed[:10] + b"\0\0\0" + packed[13:]):
        file.write_bytes(damaged)
        result = command("score", file, "-t", "scienceqa", "--runs", tmp_path / "runs")
        assert result.code == 3
        assert "mine.jsonl" in result.stderr
        assert "cannot be read" in result.stderr


def test_a_packed_file_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file of which endlessly much unpacks stops at the size of a large one."""
    monkeypatch.setattr(text, "MAX_JSONL_BYTES", 1000)
    file = tmp_path / "mine.jsonl.gz"
    file.write_bytes(gzip.compress(b"\n" * 10_000))
    with pytest.raises(DataError, match="more than 1,000 bytes when it is unpacked"):
        score_file(file, load_task("scienceqa"), label="x", runs=tmp_path)
