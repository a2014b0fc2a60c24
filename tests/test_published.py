"""The published checkpoints, rebuilt without their weights, load as a user's do.

They take no memory: tensors that keep their type are mapped, not read.
"""

from __future__ import annotations

import logging
import math
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import transformers

from harness.checkpoints.catalog import CATALOG, find
from harness.checkpoints.resolve import find_checkpoint
from harness.models.loading import LoadOptions, load
from tests.published import files, rebuild, row, size, tensors

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
MOST_MEMORY = 300_000_000
"""Bytes that loading may take; the smallest row's weights are 540 million."""
DOCUMENTS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where a folder is rebuilt; it is gone after the test, as its files look large."""
    yield tmp_path / "published"
    shutil.rmtree(tmp_path / "published")


def memory() -> int:
    """Bytes of memory that are this process's own; 0 where the system does not say."""
    status = Path("/proc/self/status")
    found = re.search(r"RssAnon:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else 0


@pytest.fixture
def library_warnings() -> Iterator[list[str]]:
    """What transformers warns of, by its logger or by Python's warnings."""
    said: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, keep = logging.getLogger("transformers"), Keep(logging.WARNING)
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_warning()
    logger.addHandler(keep)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("always", FutureWarning)
        yield said
        said += [str(each.message) for each in caught]
    logger.removeHandler(keep)
    transformers.logging.set_verbosity(level)


LONG = {"llava-cot", "moondream-kd"}
"""The largest, and one of an architecture that is there twice."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(spec.name, marks=[pytest.mark.slow] if spec.name in LONG else [])
        for spec in CATALOG
    ],
)
def test_a_published_folder_loads(
    name: str,
    tiny: Callable[..., Path],
    place: Path,
    library_warnings: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing missing, nothing left over, as many parameters as published, no warning, no memory."""
    words = tiny("moondream" if name == "moondream-kd" else name)
    folder = rebuild(name, place, words)
    spec, before = find(name), memory()
    assert spec is not None
    checkpoint = find_checkpoint(name, weights=str(folder))
    model = load(checkpoint, LoadOptions(device="cpu", dtype=DTYPES[row(name)["dtype"]]))
    assert model.description["parameters"] == spec.parameters
    assert memory() - before < MOST_MEMORY
    assert not library_warnings
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("name", [spec.name for spec in CATALOG])
def test_the_catalogue_has_the_published_sizes(name: str) -> None:
    """Parameters, gigabytes and number of files follow from the tensors."""
    spec, published = find(name), row(name)
    assert spec is not None
    parameters = [tensor for tensor in tensors(name) if tensor[1] != "I64"]
    assert len({tensor[0] for tensor in parameters}) == len(parameters)
    assert sum(math.prod(tensor[2]) for tensor in parameters) == spec.parameters
    assert sum(map(size, parameters)) == published["bytes"]
    assert len(files(name)) == published["files"]
    if spec.repo:
        assert spec.gigabytes == pytest.approx(published["bytes"] / 1e9, abs=0.05)


@pytest.mark.parametrize("name", [spec.name for spec in CATALOG if spec.repo])
def test_the_documents_have_the_published_sizes(name: str) -> None:
    """docs/models.md: revision, parameters, gigabytes and their type; docs/reproduce.md: parameters."""
    spec = find(name)
    assert spec is not None
    kind = {"F32": "fp32", "F16": "fp16", "BF16": "bf16"}[row(name)["dtype"]]
    many = spec.parameters >= 1e9
    count = f"{spec.parameters / 1e9:.2f} B" if many else f"{spec.parameters / 1e6:.0f} M"
    lines = (DOCUMENTS / "models.md").read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith(f"| `{name}`"))
    assert f"| {count}, {spec.gigabytes:.1f} GB {kind} |" in line
    assert f"| {spec.repo}{f' @ {spec.revision}' if spec.revision else ''} |" in line
    lines = (DOCUMENTS / "reproduce.md").read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith(f"| `{name}`"))
    assert f"| {spec.parameters / 1e9:.2f} B |" in line
