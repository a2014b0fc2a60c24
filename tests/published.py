"""The published checkpoints, rebuilt file by file without their weights.

tests/data/published.toml says what the repositories hold. A file of weights is written as its header
and a hole: the tensors are there with their names, shapes and types, and take no disk.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import struct
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest

Tensor = tuple[str, str, Sequence[int]]
"""Name, type, shape."""

BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}
LARGEST_FILE = 5_000_000_000
MANIFEST: Mapping[str, Any] = tomllib.loads(
    (Path(__file__).parent / "data" / "published.toml").read_text(encoding="utf-8")
)


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


def skip_without_holes(folder: Path) -> None:
    """Where zeros are stored, the folders would take 77 GB."""
    write_hollow(folder / "probe", [("probe", "F32", [1_000_000])])
    found = (folder / "probe").stat()
    (folder / "probe").unlink()
    if found.st_blocks * 512 >= found.st_size:
        pytest.skip("this file system keeps no holes in files")


def rebuild(name: str, folder: Path, words: Path) -> Path:
    """A row's folder as published; its tokenizer is that of `words`, a small checkpoint."""
    folder.mkdir()
    skip_without_holes(folder)
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
