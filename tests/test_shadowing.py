"""A file of others in place of our packages is named, and nothing of it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.shadowing import PACKAGES, find_shadow

SCRIPT = str(Path(sys.executable).parent / "harness")
WAYS = {
    "the module": ([sys.executable, "-m", "harness", "list", "tasks"], {}),
    "the console script": ([SCRIPT, "list", "tasks"], {"PYTHONPATH": "."}),
    "an import": ([sys.executable, "-c", "import harness"], {}),
}


def put(folder: Path, name: str, *, package: bool) -> Path:
    path = folder / name / "__init__.py" if package else folder / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise SystemExit('the wrong one ran')")
    return path


@pytest.mark.process
@pytest.mark.parametrize("way", WAYS)
def test_the_file_that_is_in_the_way_is_named(tmp_path: Path, way: str) -> None:
    """By the command, the module and the import: no ImportError, and no traceback of a command."""
    command, more = WAYS[way]
    wrong = put(tmp_path, "tasks", package=False)
    done = subprocess.run(
        command,
        check=False,
        cwd=tmp_path,
        env={**os.environ, **more},
        capture_output=True,
        text=True,
    )
    assert done.returncode not in {0, 3}
    assert str(wrong.resolve()) in done.stderr
    assert "ImportError" not in done.stderr
    assert ("Traceback" in done.stderr) == (way == "an import")


@pytest.mark.parametrize("package", [False, True], ids=["module", "package"])
@pytest.mark.parametrize("name", PACKAGES)
def test_each_of_our_names_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: bool
) -> None:
    """A module and a package of that name, in front of ours; a folder without code is none."""
    for loaded in [key for key in sys.modules if key.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / name).mkdir()
    assert find_shadow() is None
    wrong = put(tmp_path, name, package=package)
    if not package:
        (tmp_path / name).rmdir()
    found = find_shadow()
    assert found is not None
    assert str(wrong.resolve()) in found.what
    assert repr(name) in found.what


def test_what_was_imported_before_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that has imported its own tasks.py cannot use ours."""
    assert find_shadow() is None
    import json

    monkeypatch.setitem(sys.modules, "tasks", json)
    found = find_shadow()
    assert found is not None
    assert str(json.__file__) in found.what
