"""Splits whose answers are not public: questions without a target, and runs without a score."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill.quality.answers import reasoning_to_error
from distill.quality.measures import measure
from distill.questions import Questions
from harness.core.errors import DataError
from harness.core.types import DataOptions, Prediction, gold_text, references
from harness.metrics.accuracy import ACCURACY
from harness.metrics.balanced import CV_BENCH
from harness.metrics.figures import NO_KEY, figures
from harness.metrics.vqa_accuracy import VQA_ACCURACY
from harness.run.records import prediction_from_json, prediction_to_json
from harness.run.task_data import Data
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
