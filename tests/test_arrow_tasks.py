"""Published data sets as Arrow files: as a folder, and as the library `datasets` leaves them in its
cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets.naming import camelcase_to_snakecase

from harness.core.types import DataOptions
from harness.run.task_data import Data
from tasks import load_task
from tests.hub_cache import COMMIT, without_network
from tests.test_published_tasks import CASES, Case, ids, only, picture


def written(path: Path, row: dict[str, Any]) -> None:
    """One row as an Arrow file."""
    table = pa.Table.from_pylist([row])
    path.parent.mkdir(parents=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)


def prepared(home: Path, repo: str, configuration: str, split: str, row: dict[str, Any]) -> None:
    """What `datasets.load_dataset` leaves of a configuration."""
    owner, name = repo.split("/")
    builds = home / "datasets" / f"{owner}___{camelcase_to_snakecase(name)}" / configuration
    written(builds / "0.0.0" / COMMIT / f"{camelcase_to_snakecase(name)}-{split}.arrow", row)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_an_arrow_file_is_read_too(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same sample, from a folder and from the cache."""
    row = {"image": picture(), **case.row}
    split = load_task(case.task).split
    written(tmp_path / "copy" / f"set-{split}.arrow", row)
    assert only(case, path=tmp_path / "copy").target == case.target
    without_network(tmp_path, monkeypatch)
    folder = str(Path(case.file).parent)
    prepared(tmp_path, case.repo, folder if folder not in {"data", "."} else "default", split, row)
    sample = only(case)
    assert (sample.id, sample.target, sample.choices) == (case.id, case.target, case.choices)
    assert sample.images[0].decode().size == (6, 4)


def test_a_prepared_configuration_is_not_taken_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DocVQA and InfographicVQA share a repository, GQA's two tables do too."""
    without_network(tmp_path, monkeypatch)
    for name, number in (("DocVQA", "1"), ("InfographicVQA", "2")):
        row = {"questionId": number, "question": "Who?", "answers": ["x"], "image": picture()}
        prepared(tmp_path, "lmms-lab/DocVQA", name, "validation", row)
    question = {"id": "q", "imageId": "n", "question": "Red?", "answer": "yes"}
    prepared(tmp_path, "lmms-lab/GQA", "testdev_balanced_instructions", "testdev", question)
    shown = {"id": "n", "image": picture()}
    prepared(tmp_path, "lmms-lab/GQA", "testdev_balanced_images", "testdev", shown)
    found = {
        name: [sample.id for sample in Data(load_task(name), DataOptions()).samples.samples]
        for name in ("docvqa", "infovqa", "gqa")
    }
    assert found == {"docvqa": ["1"], "infovqa": ["2"], "gqa": ["q"]}
