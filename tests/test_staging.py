"""What an export that is killed leaves behind is not in its folder, and goes with the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.files.staging import staging
from reports.export.destination import write_folder
from reports.export.run_files import File


@pytest.mark.parametrize("name", ["out", "a[b]*?", "ü.d"])
def test_the_files_are_made_beside_the_folder(tmp_path: Path, name: str) -> None:
    """Where they can be moved into it, and where nobody looks for the export."""
    folder = tmp_path / "deep" / name
    with staging(folder) as aside:
        assert aside.parent == folder.parent
        assert aside.name.startswith(".")
        assert not list(aside.iterdir())
        assert not folder.exists()
    assert not list(folder.parent.iterdir())


def test_an_export_has_no_unfinished_file_in_its_folder(tmp_path: Path) -> None:
    """Whenever it is killed: neither while a file is written nor between two of them."""
    folder = tmp_path / "out"
    seen: list[set[str]] = []

    def pieces():
        for _ in range(3):
            seen.append({path.name for path in folder.rglob("*") if path.is_file()})
            yield b"x"

    for _ in range(2):
        write_folder(folder, lambda: [File("a/one.json", pieces), File("two.json", pieces)])
    names = {".harness-export.json", "one.json", "two.json"}
    assert all(found <= names for found in seen)
    assert {path.name for path in folder.rglob("*") if path.is_file()} == names
    assert (folder / "a" / "one.json").read_bytes() == b"xxx"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
