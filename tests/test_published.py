"""The published checkpoints, rebuilt file by file without their weights, and loaded as a user's.

tests/data/published.toml says what the repositories hold. A file of weights is written as its header
and a hole: the tensors are there with their names, shapes and types, and take neither disk nor
memory, because tensors that keep their type are mapped, not read.
"""

from __future__ import annotations

import json
import logging
import math
import re
import shutil
import struct
import tomllib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import transformers

from harness.catalog import CATALOG, find
from harness.checkpoints import find_checkpoint
from harness.models.loading import LoadOptions, load

Tensor = tuple[str, str, Sequence[int]]
"""Name, type, shape."""

BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
LARGEST_FILE = 5_000_000_000
MOST_MEMORY = 300_000_000
"""Bytes that loading may take; the smallest row's weights are 540 million."""
MANIFEST: Mapping[str, Any] = tomllib.loads(
    (Path(__file__).parent / "data" / "published.toml").read_text(encoding="utf-8")
)
DOCUMENTS = Path(__file__).parents[1] / "docs"


def expand(pattern: str) -> list[str]:
    """Every name that a pattern of the manifest stands for."""

    def each(group: str) -> Iterator[str]:
        for part in group.split(","):
            first, dash, last = part.partition("-")
            yield from map(str, range(int(first), int(last) + 1)) if dash else [part]

    pieces = re.split(r"\{([^}]*)\}", pattern)
    choices = [each(piece) if place % 2 else [piece] for place, piece in enumerate(pieces)]
    return ["".join(parts) for parts in product(*choices)]


def row(name: str) -> Mapping[str, Any]:
    return MANIFEST[MANIFEST[name].get("like", name)]


def tensors(name: str) -> list[Tensor]:
    """What a row's repository holds, in the order of its files."""
    published = row(name)
    parameters = [
        (tensor, published["dtype"], shape)
        for pattern, shape in published["tensors"].items()
        for tensor in expand(pattern)
    ]
    return parameters + [(n, "I64", shape) for n, shape in published.get("integers", {}).items()]


def size(tensor: Tensor) -> int:
    return math.prod(tensor[2]) * BYTES[tensor[1]]


def files(name: str) -> list[list[Tensor]]:
    """The tensors of each file of weights."""
    found: list[list[Tensor]] = [[]]
    for tensor in tensors(name):
        full = sum(map(size, found[-1])) + size(tensor) > LARGEST_FILE
        if full and found[-1] and row(name)["files"] > 1:
            found.append([])
        found[-1].append(tensor)
    return found


def write_hollow(path: Path, held: Sequence[Tensor]) -> None:
    """A file of safetensors with nothing in it but zeros, which take no room on disk."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in held:
        name, dtype, shape = tensor
        start, end = end, end + size(tensor)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


def rebuild(name: str, folder: Path, words: Path) -> Path:
    """A row's folder as published; its tokenizer is that of `words`, a small checkpoint."""
    folder.mkdir()
    for path in words.glob("*token*"):
        shutil.copy(path, folder)
    config = {**row(name)["config"]}
    if name == "phi-3.5":
        config["rope_scaling"] = {
            "type": "su",
            "short_factor": [1.0] * 48,
            "long_factor": [2.0] * 48,
        }
    for file, fields in {"config.json": config, **row(name).get("json", {})}.items():
        (folder / file).write_text(json.dumps(fields, indent=2))
    parts = files(name)
    index = {}
    for number, held in enumerate(parts, 1):
        part = f"model-{number:05}-of-{len(parts):05}.safetensors"
        part = part if len(parts) > 1 else "model.safetensors"
        write_hollow(folder / part, held)
        index |= {tensor[0]: part for tensor in held}
    if len(parts) > 1:
        total = {"total_size": row(name)["bytes"]}
        text = json.dumps({"metadata": total, "weight_map": index}, indent=2)
        (folder / "model.safetensors.index.json").write_text(text)
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where a folder is rebuilt; it is gone after the test, as its files look large."""
    probe = tmp_path / "probe"
    write_hollow(probe, [("probe", "F32", [1_000_000])])
    if probe.stat().st_blocks * 512 >= probe.stat().st_size:
        pytest.skip("this file system stores zeros: the folders would take 77 GB")
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


@pytest.mark.parametrize("name", [spec.name for spec in CATALOG])
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
