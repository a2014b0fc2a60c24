"""How much somebody downloads who installs the package."""

from __future__ import annotations

import tomllib
import zlib
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUDGET = 16_500_000
"""Bytes of a wheel: nearly all are the minis, which let everything run without a download."""


def test_a_wheel_stays_within_its_budget() -> None:
    """Its files, each deflated as a wheel has it: to be lowered when the minis get smaller."""
    target = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    excluded = {ROOT / name for name in target["targets"]["wheel"]["exclude"]}
    files = [
        path
        for package in target["targets"]["wheel"]["packages"]
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path not in excluded
    ]
    assert any(path.name == "model.safetensors" for path in files)
    assert sum(len(zlib.compress(path.read_bytes())) for path in files) <= BUDGET
