"""Splits whose answers are not public: questions without a target, and runs without a score."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from distill.quality.answers import reasoning_to_error
from distill.quality.measures import measure
from distill.questions import Questions
from harness.core.errors import DataError, HarnessError
from harness.core.types import DataOptions, Prediction, Value, gold_text, references
from harness.metrics.accuracy import ACCURACY
from harness.metrics.balanced import CV_BENCH
from harness.metrics.figures import NO_KEY, figures
from harness.metrics.vqa_accuracy import VQA_ACCURACY
from harness.run.folder import RunFolder
from harness.run.records import (
    Counts,
    ModelInfo,
    RunRecord,
    TaskInfo,
    prediction_from_json,
    prediction_to_json,
)
from harness.run.scoring import write_scored
from harness.run.task_data import Data
from reports.export.exporter import export
from tasks import load_task
from tests.hub_cache import cache_on_hub, without_network
from tests.test_published_tasks import CASES, Case, only, write

HIDDEN = {
    "textvqa": ("test", {"answers": [""] * 10}),
    "vqav2": ("testdev", {"answers": None, "multiple_choice_answer": None}),
    "vizwiz": ("test", {"answers": []}),
    "docvqa": ("test", {"answers": None}),
    "infovqa": ("test", {"answers": []}),
    "mmbench": ("test", {"answer": "nan"}),
    "aokvqa": ("test", {"correct_choice_idx": None}),
    "aokvqa-direct": ("test", {"direct_answers": None}),
}
"""Task -> a split without public answers, and what its rows on the hub have in their place."""


def hidden(task: str, folder: Path, **changes: Any) -> tuple[Case, str]:
    """A copy of such a split, and its name."""
    case = next(case for case in CASES if case.task == task)
    split, blanks = HIDDEN[task]
    file = re.sub(r"(?<=/)[a-z]+(?=-0)", split, case.file)
    case = replace(case, file=file, row={**case.row, **blanks})
    write(folder, case, **changes)
    return case, split


@pytest.mark.parametrize("task", HIDDEN)
def test_a_split_without_public_answers_has_questions_without_a_target(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the hub has in the place of an answer; a user's copy of the files too."""
    without_network(tmp_path, monkeypatch)
    case, split = hidden(task, tmp_path / "files")
    cache_on_hub(tmp_path, case.repo, tmp_path / "files")
    for options in (DataOptions(split=split), DataOptions(split=split, path=tmp_path / "files")):
        made = Data(load_task(task), options).samples
        assert [(sample.id, sample.target) for sample in made.samples] == [(case.id, None)]
        assert f"answers of the {split} split are not public" in made.notes[0]


def test_a_placeholder_on_the_hub_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a data set's answers are not public, what stands there is not taken for one."""
    without_network(tmp_path, monkeypatch)
    case, split = hidden("mmbench", tmp_path / "files", answer="A")
    cache_on_hub(tmp_path, case.repo, tmp_path / "files")
    assert only(case, split=split).target is None
    assert only(case, split=split, path=tmp_path / "files").target == 0


def test_a_copy_with_some_answers_is_refused(tmp_path: Path) -> None:
    """A hole in the key would make every figure wrong."""
    rows = [{"id": "1", "question": "q", "answer": "x"}, {"id": "2", "question": "q"}]
    (tmp_path / "test.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    options = DataOptions(path=tmp_path, split="test", text_only=True)
    with pytest.raises(DataError, match=r"1 of 2 rows of .* have no answer"):
        load_task("docvqa").load(options)


def test_mmmu_has_a_question_mark_where_the_answer_is(tmp_path: Path) -> None:
    """For questions with options and for those without."""
    row = {"question": "q", "options": "['a', 'b']", "answer": "?"}
    rows = [{"id": "test_Art_1", **row}, {"id": "test_Art_2", **row, "options": "[]"}]
    (tmp_path / "test.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    options = DataOptions(path=tmp_path, split="test", text_only=True)
    made = load_task("mmmu").load(options).samples
    assert [(sample.choices, sample.target) for sample in made] == [(("a", "b"), None), ((), None)]


@pytest.mark.parametrize("asked", ["test-dev", "testdev"])
def test_test_dev_has_two_spellings(asked: str, tmp_path: Path) -> None:
    """As VQA's authors write it, and as the files on the hub are called."""
    case, _ = hidden("vqav2", tmp_path)
    assert only(case, split=asked, path=tmp_path).target is None


def unkeyed(number: int, **changes: Any) -> Prediction:
    """An answer to a question whose right one is not public."""
    made = Prediction(
        sample_id=str(number), raw="B", answer=1, rule="letter", target=None, choices=("x", "y")
    )
    return replace(made, topic="t", **changes)


def test_an_answer_without_a_key_has_no_score() -> None:
    """Never 0: the figures are missing, with the reason; what needs no key is there."""
    found = figures(
        [unkeyed(1), unkeyed(2, answer=None)], (ACCURACY, VQA_ACCURACY, CV_BENCH, lambda _: {})
    )
    for name in ("accuracy", "vqa_accuracy", "cv_bench"):
        value = found.values[name]
        assert (value.value, value.n, value.note) == (None, 0, NO_KEY)
    assert not [name for name in found.values if "/" in name]
    assert (found.values["chance"].value, found.values["unparsed"].value) == (0.5, 0.5)
    assert [p.scores for p in found.predictions] == [{}, {}]
    assert unkeyed(1).correct is None
    assert (gold_text(None), references(None), unkeyed(1).references) == ("", (), ())


def test_answers_without_a_key_beside_others_are_in_no_score() -> None:
    """A task of a user's own may have both."""
    keyed = [unkeyed(3, target=1), unkeyed(4, target=0)]
    found = figures([unkeyed(1), *keyed, unkeyed(2)], (ACCURACY,))
    assert (found.values["accuracy"].value, found.values["accuracy"].n) == (0.5, 2)
    assert [p.scores for p in found.predictions] == [{}, {"accuracy": 1}, {"accuracy": 0}, {}]


def test_a_record_keeps_that_there_is_no_key() -> None:
    """In JSON it is null, and comes back as it was."""
    line = json.loads(json.dumps(prediction_to_json(unkeyed(1))))
    assert line["target"] is None
    assert prediction_from_json(line) == unkeyed(1)


def test_what_cannot_be_right_is_not_measured_as_wrong() -> None:
    """Neither a rationale's conclusion nor an answer counts as an error without a key."""
    quality = measure("<CONCLUSION>B</CONCLUSION>", choices=("x", "y"), target=None)
    assert (quality.conclusion_right, quality.reasoning_right, quality.leaks) == (None, None, ())
    assert reasoning_to_error([unkeyed(1)]).answers == 0


def test_nothing_is_distilled_from_questions_without_a_key(tmp_path: Path) -> None:
    """A student would learn empty answers."""
    hidden("mmbench", tmp_path)
    data = Data(load_task("mmbench"), DataOptions(split="test", path=tmp_path))
    with pytest.raises(DataError, match=r"answers of the test split are not public.*learn"):
        Questions(data=data).selected()


SERVED = {
    "vqav2": (
        {"sample_id": "262148000", "raw": "Yes.", "answer": "Yes."},
        [{"question_id": 262148000, "answer": "yes"}],
    ),
    "textvqa": (
        {"sample_id": "34602", "answer": "The Brand"},
        [{"question_id": 34602, "answer": "brand"}],
    ),
    "vizwiz": (
        {"sample_id": "VizWiz_test_00000000", "answer": "a can"},
        [{"image": "VizWiz_test_00000000.jpg", "answer": "can"}],
    ),
    "docvqa": (
        {"sample_id": "57343", "answer": "ITC Limited"},
        [{"questionId": 57343, "answer": "ITC Limited"}],
    ),
    "infovqa": ({"sample_id": "65718", "answer": None}, [{"questionId": 65718, "answer": ""}]),
    "aokvqa": (
        {"sample_id": "2Kc", "answer": 1, "choices": ("hat", "rain coat")},
        {"2Kc": {"multiple_choice": "rain coat"}},
    ),
    "mmmu": (
        {"sample_id": "test_Art_1", "answer": 1, "choices": ("x", "y")},
        {"test_Art_1": "B"},
    ),
    "aokvqa-direct": ({"sample_id": "2Kc", "answer": "coat"}, {"2Kc": {"direct_answer": "coat"}}),
}
"""Task -> an answer, and the document that its server takes."""


def keep(runs: Path, task: str, *answers: Prediction, available: int | None = None) -> None:
    """A run with these answers on a split without public ones."""
    record = RunRecord(
        task=TaskInfo(name=task, title=load_task(task).title, split="test"),
        model=ModelInfo(name="m", title="M"),
        fingerprint={},
        counts=Counts(total=len(answers), available=available or len(answers)),
    )
    folder = RunFolder.of(runs, task=task, model="m", split="test")
    write_scored(folder, record, answers, load_task(task).metrics)


@pytest.mark.parametrize("task", SERVED)
def test_a_submission_is_what_the_server_takes(task: str, tmp_path: Path) -> None:
    """Its fields by their names there, ids as numbers where they are, answers in their form."""
    changes, document = SERVED[task]
    keep(tmp_path / "runs", task, unkeyed(1, **{"choices": (), **changes}))
    made = export("submission", tmp_path / "runs", task=None, out=tmp_path / "out", dataset=None)
    assert [path.name for path in made.files] == [f"{task}-test-m.json"]
    assert json.loads(made.files[0].read_text()) == document


def test_mmbench_takes_a_spreadsheet(tmp_path: Path) -> None:
    """A letter for each row; one that is not an option where there is none; no text is a formula."""
    keep(
        tmp_path / "runs",
        "mmbench",
        unkeyed(1000241, question="=1+1 <b> & \x01"),
        unkeyed(7, question="q", answer=None),
    )
    made = export("submission", tmp_path / "runs", task=None, out=tmp_path / "out", dataset=None)
    assert made.notes == (
        "m on mmbench: 1 of 2 answers are unparsed or failed; the server counts them as wrong.",
    )
    with zipfile.ZipFile(made.files[0]) as packed:
        assert packed.testzip() is None
        for name in packed.namelist():
            ET.fromstring(packed.read(name))
        sheet = ET.fromstring(packed.read("xl/worksheets/sheet1.xml"))
        shared = ET.fromstring(packed.read("xl/sharedStrings.xml"))
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    texts = ["".join(each.itertext()) for each in shared.iter(f"{space}si")]
    rows = [
        [
            texts[int("".join(cell.itertext()))]
            if cell.get("t") == "s"
            else "".join(cell.itertext())
            for cell in row.iter(f"{space}c")
        ]
        for row in sheet.iter(f"{space}row")
    ]
    assert not [*sheet.iter(f"{space}f")]
    assert rows == [
        ["index", "question", "A", "B", "C", "D", "prediction"],
        ["1000241", "=1+1 <b> & _x0001_", "x", "y", "", "", "B"],
        ["7", "q", "x", "y", "", "", "Z"],
    ]


def test_a_run_that_no_server_takes_is_left_out_with_the_reason(tmp_path: Path) -> None:
    """One with a limit, one of a task whose answers are public, one of a task file."""
    keep(tmp_path, "docvqa", unkeyed(1), available=2)
    keep(tmp_path, "scienceqa", unkeyed(1))
    with pytest.raises(HarnessError, match="it has 1 of 2 answers, and the server wants all"):
        export("submission", tmp_path, task="docvqa", out=tmp_path / "out", dataset=None)
    with pytest.raises(HarnessError, match="no evaluation server takes its answers"):
        export("submission", tmp_path, task="scienceqa", out=tmp_path / "out", dataset=None)


def test_a_task_of_a_users_own_says_what_its_server_takes(tmp_path: Path) -> None:
    """By its file; without it the run is left out, and the message says so."""
    keep(tmp_path, "docvqa", unkeyed(1, answer="x", choices=()))
    (record,) = tmp_path.glob("docvqa/*/*/run.json")
    record.write_text(record.read_text().replace('"docvqa"', '"mine"'))
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from dataclasses import replace\nfrom tasks.docvqa import TASK\n"
        'TASK = replace(TASK, name="mine")\n'
    )
    with pytest.raises(HarnessError, match=r"--task \./mine\.py"):
        export("submission", tmp_path, task=None, out=tmp_path / "out", dataset=None)
    made = export("submission", tmp_path, task=str(mine), out=tmp_path / "out", dataset=None)
    assert json.loads(made.files[0].read_text()) == [{"questionId": 1, "answer": "x"}]


def test_a_run_without_a_score_is_on_every_list(tiny: Any, command: Any, tmp_path: Path) -> None:
    """Answered, printed, listed, on the page and exported, with a reason and without a rank; two of
    them cannot be compared."""
    hidden("mmbench", tmp_path / "data")
    for name in ("one", "two"):
        done = command(
            *("eval", "--model", tiny("vilt"), "--task", "mmbench", "--split", "test"),
            *("--data", tmp_path / "data", "--name", name, "--runs", tmp_path / "runs"),
            *("--mode", "loglikelihood", "--batch-size", "1"),
        )
        assert done.code == 0, done.stderr
        assert "not computed: the answers of this split are not public" in done.stdout
    folders = [tmp_path / "runs" / "mmbench" / name / "test" for name in ("one", "two")]
    record = RunFolder(folders[0]).existing_record()
    assert record.metrics["circular_accuracy"] == Value(value=None, n=0, note=NO_KEY)
    assert "circular" in record.decisive
    listed = command("list", "runs", "--runs", tmp_path / "runs")
    assert listed.code == 0
    assert "0.00" not in listed.stdout
    page = tmp_path / "page.html"
    made = command("report", "--runs", tmp_path / "runs", "--out", page)
    assert (made.code, made.stderr) == (0, "")
    assert "the answers of this split are not public" in page.read_text()
    for form in ("csv", "markdown", "latex", "json"):
        assert command("export", "--format", form, "--runs", tmp_path / "runs").code == 0
    for form in ("lm-eval", "every-eval-ever", "submission"):
        out = ("--out", tmp_path / form)
        assert command("export", "--format", form, "--runs", tmp_path / "runs", *out).code == 0
    compared = command("compare", *folders)
    assert compared.code != 0
    assert "answers of this split are not public" in compared.stderr
