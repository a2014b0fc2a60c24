"""docs/data.md says what data may hold: each value of its table loads."""

from __future__ import annotations

import base64
import json
import re
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from harness.core.types import DataOptions
from tasks import scienceqa

PAGE = Path(__file__).resolve().parents[1] / "docs" / "data.md"


def values() -> list[str]:
    table = PAGE.read_text(encoding="utf-8").partition("<!-- values")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()[3:]]
    return [value for cell in cells for value in re.findall("`([^`]+)`", cell)]


@pytest.mark.parametrize("value", values())
def test_each_value_of_the_table_is_the_picture(value: str, tmp_path: Path) -> None:
    """As a line of JSONL has it."""
    file = BytesIO()
    Image.new("RGB", (6, 4), "red").save(file, "PNG")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "red.png").write_bytes(file.getvalue())
    text = value.replace("BASE64", base64.b64encode(file.getvalue()).decode())
    row = {"question": "q", "choices": ["x", "y"], "answer": 0, "image": json.loads(text)}
    (tmp_path / "test.jsonl").write_text(json.dumps(row) + "\n")
    (sample,) = scienceqa.load(DataOptions(path=tmp_path)).samples
    assert [image.read() for image in sample.images] == [file.getvalue()]


def test_the_table_is_read() -> None:
    """A table that is not found would test nothing."""
    assert len(values()) >= 9
