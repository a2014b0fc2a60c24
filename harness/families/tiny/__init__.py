"""Small random checkpoints in the published layouts, built on the spot: for tests, for trying the
harness where no weights can be fetched, and for the miniature to be trained from. Nothing they
answer means anything."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.core.files.atomic import temporary_folder
from harness.families import every_family


def build(
    name: str,
    folder: Path,
    *,
    seed: int = 0,
    size: str = "tiny",
    corpus: Sequence[str] | None = None,
) -> Path:
    """Write the checkpoint with random weights that a family calls `name`; returns its folder,
    which appears whole or not at all. One that is there is replaced.

    Args:
        size: "tiny"; "mini", what harness.mini trains; or "full", the published size.
        corpus: what the tokenizer of a mini is made of.
    """
    family, builder = next(
        (family, family.builders[name]) for family in every_family() if name in family.builders
    )
    if family.register:
        family.register()
    sizes: dict[str, Any] = {} if size == "tiny" else {"size": size}
    if corpus is not None:
        sizes["corpus"] = corpus
    with temporary_folder(folder) as made:
        builder(made, seed=seed, **sizes)
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)
    return folder
