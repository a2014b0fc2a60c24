"""A checkpoint folder as files: its config.json, its tensors' shapes, its fingerprint.

Nothing is loaded: of the weights only the headers are read, and for the fingerprint the bytes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness.checkpoints.hub import Repository
from harness.checkpoints.pickled import without_safetensors
from harness.checkpoints.quantized import is_scale
from harness.core.errors import Exit, HarnessError

SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".jinja")
"""The files that decide what a model answers; nothing else of a repository is fetched or read."""


def read_config(folder: Path, repo: Repository | None) -> Mapping[str, Any]:
    """The config.json of a checkpoint that can be loaded.

    Args:
        repo: the repository that the folder is a snapshot of; None: it is the user's own.

    Raises:
        HarnessError: the folder is no checkpoint, or its weights are not all there (exit 3).
    """
    path = folder / "config.json"
    if (folder / "adapter_config.json").exists():
        # The library would load another model, from wherever this file says.
        raise HarnessError(
            f"{folder} holds a LoRA adapter: it has an adapter_config.json.",
            remedy=f"harness eval --model BASE --adapter {folder}",
            code=Exit.MISSING,
        )
    if not path.is_file():
        raise HarnessError(
            f"{folder} has no config.json: it is not a checkpoint.", code=Exit.MISSING
        )
    config = read_json(path)
    if not isinstance(config, dict):
        raise HarnessError(f"{path} is not a JSON object.", code=Exit.MISSING)
    if not isinstance(config.get("model_type"), str):
        raise HarnessError(
            f"{path} has no model_type, which names the architecture.", code=Exit.MISSING
        )
    if not any(path.is_file() for path in folder.glob("*.safetensors")):
        raise without_safetensors(folder, config, repo)
    _check_shards(folder)
    return config


def read_json(path: Path) -> Any:
    """A JSON file of a checkpoint; raises HarnessError where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise HarnessError(f"{path} cannot be read: {error}.", code=Exit.MISSING) from error


def _check_shards(folder: Path) -> None:
    """Refuse a checkpoint whose weights are only partly there."""
    for index in sorted(folder.glob("*.safetensors.index.json")):
        try:
            shards = set(read_json(index)["weight_map"].values())
        except (KeyError, TypeError, AttributeError) as error:
            raise HarnessError(f"{index} has no usable weight_map.", code=Exit.MISSING) from error
        for shard in shards:
            if not isinstance(shard, str) or shard != Path(shard).name:
                raise HarnessError(
                    f"{index}: {shard!r} is not the name of a file in its folder.",
                    code=Exit.MISSING,
                )
        missing = sorted(s for s in shards if not (folder / s).is_file())
        if missing:
            raise HarnessError(
                f"{folder} lacks {len(missing)} of {len(shards)} weight files: {missing[0]} ...",
                remedy="Download it again: an interrupted download leaves such a folder.",
                code=Exit.MISSING,
            )


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every weight in the folder's *.safetensors; reads their headers only."""
    from safetensors import safe_open

    shapes = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118  # no mapping
                if not is_scale(name, path):
                    shapes[name] = tuple(file.get_slice(name).get_shape())
    return shapes


def weights_fingerprint(folder: Path) -> str:
    """sha256 over the names and contents of the files that decide what a model answers.

    Large files in the hub's cache are links to blobs named by their sha256: those are not read.
    """
    total = sha256()
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.suffix not in SUFFIXES or not path.is_file():
            continue
        total.update(os.fsencode(path.name) + f"\0{_content_hash(path)}\0".encode())
    return f"sha256:{total.hexdigest()}"


def _content_hash(path: Path) -> str:
    if path.is_symlink():
        target = path.resolve()
        if target.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", target.name):
            return target.name
    digest = sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
