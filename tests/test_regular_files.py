"""Runs and distillations from elsewhere: pipes, devices, links out of the folder, files without
end."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from distill.rationales.store import Store
from harness.core.errors import DataError
from harness.core.files import json_files, jsonl, regular
from harness.core.files.regular import open_regular, read_regular
from harness.run.folder import RunFolder, read_runs
from reports.inputs.discovery import gather
from tests.test_records import PREDICTION, RECORD


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_out(path: Path) -> None:
    outside = path.parent.parent / "outside"
    outside.write_text("{}\n")
    path.symlink_to(outside)


def folder(path: Path) -> None:
    path.mkdir()


NO_FILES = [pipe, device, link_out, folder]
Spoil = Callable[[Path], None]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs, `good` and `bad`."""
    for name in ("good", "bad"):
        run = RunFolder(tmp_path / "runs" / "scienceqa" / name / "test")
        run.path.mkdir(parents=True)
        run.write_record(RECORD)
        run.rewrite([PREDICTION])
    return tmp_path / "runs"


def spoil(runs: Path, name: str, how: Spoil) -> RunFolder:
    run = RunFolder(runs / "scienceqa" / "bad" / "test")
    (run.path / name).unlink()
    how(run.path / name)
    return run


@pytest.mark.parametrize("how", NO_FILES)
def test_a_record_that_is_no_file_costs_its_own_run_only(how: Spoil, runs: Path) -> None:
    """It is told, and the others are listed; nothing is waited for."""
    run = spoil(runs, "run.json", how)
    found, broken = read_runs(runs)
    assert [path.parent.name for path, _ in found] == ["good"]
    assert f"{run.record_path} cannot be read: it is " in str(broken[0])


@pytest.mark.parametrize("how", NO_FILES)
def test_answers_that_are_no_file_cost_their_own_run_only(how: Spoil, runs: Path) -> None:
    """The page is made without them."""
    run = spoil(runs, "predictions.jsonl", how)
    with pytest.raises(DataError, match=r"predictions\.jsonl cannot be read: it is "):
        run.read_predictions()
    with pytest.raises(DataError, match=r"predictions\.jsonl cannot be read: it is "):
        run.append([PREDICTION])
    material, broken = gather(runs)
    assert sorted(len(each.predictions()) for each in material.runs) == [0, 1]
    assert len(broken) == 1


@pytest.mark.parametrize("how", NO_FILES)
@pytest.mark.parametrize(
    "name", ["rationales.json", "attempts.jsonl", "rationales.jsonl", "distill.json"]
)
def test_a_distillation_that_is_no_file_is_told(how: Spoil, name: str, tmp_path: Path) -> None:
    """Every file of it; the page says so, or leaves it out."""
    path = tmp_path / "runs" / "distill" / "mine"
    path.mkdir(parents=True)
    (path / "rationales.json").write_text(json.dumps({"format": 1, "fingerprint": {}}))
    (path / name).unlink(missing_ok=True)
    how(path / name)
    store = Store(path)
    reads = {
        "rationales.json": store.read_record,
        "attempts.jsonl": store.read_attempts,
        "rationales.jsonl": store.read_kept,
    }
    if name in reads:
        with pytest.raises(DataError, match=f"{name} cannot be read: it is "):
            reads[name]()
    for found in gather(tmp_path / "runs")[0].distillations:
        assert not list(found.kept())
        assert name.endswith(".jsonl") or any(name in problem for problem in found.problems)


def test_files_without_end_are_read_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch, runs: Path
) -> None:
    """A line, a document and a file have their bounds; what is written is far below them."""
    run = RunFolder(runs / "scienceqa" / "bad" / "test")
    monkeypatch.setattr(regular, "MAX_LINE_BYTES", 100)
    with pytest.raises(
        DataError, match=r"predictions\.jsonl cannot be read: it has a line of more"
    ):
        run.read_predictions()
    monkeypatch.setattr(jsonl, "MAX_JSONL_BYTES", 50)
    with pytest.raises(DataError, match="bytes, and at most 50 are read"):
        run.read_predictions()
    monkeypatch.setattr(json_files, "MAX_JSON_BYTES", 50)
    with pytest.raises(DataError, match="bytes, and at most 50 are read"):
        run.read_record()


def test_a_file_of_untrue_size_is_bounded_too(tmp_path: Path) -> None:
    """Those of /proc say that they are empty."""
    if Path("/proc/self/status").exists():
        with pytest.raises(OSError, match="more than 10 bytes"):
            read_regular(Path("/proc/self/status"), limit=10)
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_regular(path, limit=5) == b"12345"


def test_links_within_a_folder_are_followed(tmp_path: Path) -> None:
    """Also where the folder itself is one."""
    real = tmp_path / "real"
    (real / "sub").mkdir(parents=True)
    (real / "sub" / "file").write_bytes(b"x")
    (real / "link").symlink_to("sub/file")
    (tmp_path / "folder").symlink_to(real)
    with open_regular(tmp_path / "folder" / "link", within=tmp_path / "folder") as file:
        assert file.read() == b"x"
    for _ in range(5):
        with pytest.raises(OSError, match="not a regular file"):
            open_regular(real)


def test_answers_on_the_command_line_may_come_through_a_pipe(command, tmp_path: Path) -> None:
    """As `harness score <(...)` gives them."""
    os.mkfifo(tmp_path / "answers")
    row = json.dumps({"id": "1", "raw": "A", "choices": ["x", "y"], "target": 0}) + "\n"
    writer = threading.Thread(target=lambda: (tmp_path / "answers").write_text(row))
    writer.start()
    scored = command(
        *("score", tmp_path / "answers", "-t", "scienceqa", "-m", "m"),
        *("--runs", tmp_path / "runs", "--json"),
    )
    writer.join()
    assert scored.code == 0, scored.stderr
