"""Task files and records of the first versions: their names are understood."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.types import DataOptions
from harness.run.records import Counts, ModelInfo, RunRecord, TaskInfo
from tasks import load_task

FORMER = """
from dataclasses import replace

from harness.metrics import accuracy
from harness.reading import read_choice
from harness.types import DataOptions, Prompt, Reading, Sample, SampleSet, Style, Task
from tasks.files import Row
from tasks.schema import LETTERS, choice_question, collect
from tasks.scienceqa import TASK as BASE
from tasks.sources import open_source


def load(options: DataOptions) -> SampleSet:
    source = open_source(options, repo="derek-thomas/ScienceQA", files="*{split}-*.parquet")
    return collect(source.rows, choice_question, options, source=source.name, revision=None, licence="")


def read(raw, choices) -> Reading:
    found = read_choice(raw, choices)
    return Reading(found.answer if found == BASE.read(raw, choices) else None, f"mine: {found.rule}")


TASK = Task(
    name="mine", title="Mine", load=load, prompt=BASE.prompt, read=read, metrics=(accuracy,)
)
"""


def test_a_task_file_of_the_first_versions_loads(drawn: Path, tmp_path: Path) -> None:
    """Imports from former modules, `Reading` and `read=`: it asks and extracts as it did."""
    path = tmp_path / "mine.py"
    path.write_text(FORMER)
    task = load_task(str(path))
    samples = task.load(DataOptions(path=drawn)).samples
    assert [s.id for s in samples] == [
        s.id for s in load_task("scienceqa").load(DataOptions(path=drawn)).samples
    ]
    found = task.extract("The answer is (B).", ("red", "green"))
    assert (found.answer, found.rule) == (1, "mine: answer phrase")
    assert task.read("The answer is (B).", ("red", "green")) == found


def test_a_replaced_field_goes_by_its_former_name(tmp_path: Path) -> None:
    """`replace(TASK, read=...)`; a file's own `read` elsewhere is left alone; lines stay."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import replace\n"
        "from harness.types import (\n    Reading,\n)\n"
        "from tasks.scienceqa import TASK as BASE\n"
        "words = open(__file__).read()\n"
        "TASK = replace(BASE, name='mine', read=lambda raw, choices: Reading(0, str(1 / len(raw))))\n"
    )
    task = load_task(str(path))
    assert task.extract("a", ("x",)).answer == 0
    with pytest.raises(HarnessError, match=r"mine\.py, line 7: ZeroDivisionError"):
        task.extract("", ("x",))


def test_a_record_of_the_first_versions_is_read() -> None:
    """Counts, metrics, settings and fingerprint: the same record, written with the present names."""
    made = RunRecord(
        task=TaskInfo(name="scienceqa", title="ScienceQA", split="test"),
        model=ModelInfo(name="one", title="One"),
        fingerprint={},
        counts=Counts(total=12, available=12),
    )
    new = json.loads(json.dumps(made.to_json()))
    new["settings"]["extractor"] = new["fingerprint"]["extractor"] = "paper-base"
    new["counts"]["unparsed"] = 3
    new["metrics"]["unparsed"] = {"value": 0.25, "n": 12}
    old = json.loads(json.dumps(new))
    for part, former, name in [
        ("settings", "reader", "extractor"),
        ("fingerprint", "reader", "extractor"),
        ("counts", "unread", "unparsed"),
        ("metrics", "unread", "unparsed"),
    ]:
        old[part][former] = old[part].pop(name)
    found = RunRecord.from_json(old, label="run.json")
    assert found == RunRecord.from_json(new, label="run.json")
    assert found.counts.unparsed == 3
    assert found.metrics["unparsed"].value == 0.25


@pytest.mark.parametrize("data", [[], [1], "text", 3, None])
def test_what_is_no_object_is_no_record(data: object) -> None:
    """The message says so in plain words."""
    with pytest.raises(HarnessError, match=r"run\.json is not a run record: it is no JSON object"):
        RunRecord.from_json(data, label="run.json")
