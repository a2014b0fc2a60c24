"""The caches of the hub's libraries, as downloads leave them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def without_network(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty caches under `home`, and no network."""
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "datasets")


def cache_on_hub(home: Path, repo: str, files: Path) -> Path:
    """What `hf download` leaves: snapshots of links to blobs, and the commit that main names."""
    cache = home / "hub" / f"datasets--{repo.replace('/', '--')}"
    snapshot = cache / "snapshots" / COMMIT
    for number, file in enumerate(sorted(path for path in files.rglob("*") if path.is_file())):
        blob = cache / "blobs" / f"{number:064x}"
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blob)
        link = snapshot / file.relative_to(files)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(COMMIT)
    return snapshot
