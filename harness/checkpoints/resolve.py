"""The checkpoint that a folder, a repository or a row of the catalogue means, without loading it.

A checkpoint is always a folder here: the user's own, or a snapshot in the hub's cache. Weights that
are not published (the minis that come with the package, random ones, distilled students) are
found by `harness.weights.resolve`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from harness.checkpoints import hub
from harness.checkpoints.catalog import CATALOG, find, find_type, pinned
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.folder import SUFFIXES, read_config
from harness.core.errors import Exit, HarnessError
from harness.core.files.paths import user_path
from harness.core.suggestions import did_you_mean


def find_checkpoint(
    model: str,
    *,
    weights: str | None = None,
    revision: str | None = None,
    name: str | None = None,
    lora: Path | None = None,
    alternative: str = "",
) -> Checkpoint:
    """The checkpoint of published weights, or of a folder.

    Args:
        model: a row of the catalogue, a folder, or ORG/REPO on the hub.
        weights: a folder, or ORG/REPO, in place of the row's own repository.
        lora: a folder with a LoRA adapter.
        revision: branch, tag or commit of the hub repository.
        name: what the run is called; by default the row's, the folder's or the repository's name.
        alternative: what can be run where the weights cannot be fetched, for the message.

    Raises:
        HarnessError: nothing is there (exit 3), or `model` names nothing (exit 2).
    """
    row = find(model)
    source = weights or (row.repo if row else model)
    if source is None:
        raise HarnessError(
            f"{model} has no published weights.",
            remedy=f"harness eval --model {model} --weights FOLDER",
            code=Exit.MISSING,
        )
    folder, repo = _locate(source, revision, alternative)
    config = read_config(folder, repo)
    model_type = str(config.get("model_type", ""))
    if row and model_type != row.model_type:
        raise HarnessError(
            f"{folder.name} holds a {model_type or 'nameless'} checkpoint; {row.title} needs "
            f"{row.model_type}.",
            remedy=f"harness eval --model {source}",
            code=Exit.MISSING,
        )
    default_name = row.name if row else (repo.name if repo else folder.name).replace("/", "--")
    return Checkpoint(
        name=name or default_name,
        folder=folder,
        spec=row or find_type(model_type),
        named=row is not None,
        config=config,
        repo=repo.name if repo else None,
        revision=folder.name if repo else None,  # the commit
        lora=_lora_folder(lora) if lora else None,
    )


def _locate(
    source: str, revision: str | None, alternative: str
) -> tuple[Path, hub.Repository | None]:
    """The folder that `source` means, and the hub's repository that it is a snapshot of."""
    path = user_path(source)
    if source and path.is_dir():
        if revision:
            raise HarnessError(f"--model-revision {revision}: a folder has no revisions.")
        return path.resolve(), None
    if source and path.exists():
        raise HarnessError(
            f"{source} is a file; a checkpoint is a folder with config.json and *.safetensors.",
            code=Exit.MISSING,
        )
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", source):
        repo = hub.Repository(source, revision or pinned(source))
        patterns = [f"*{suffix}" for suffix in SUFFIXES]
        return hub.snapshot(repo, patterns, otherwise=alternative), repo
    rows = [row.name for row in CATALOG]
    raise HarnessError(
        f"No model called {source!r}.{did_you_mean(source, rows)}",
        known="It is no folder here, no ORG/REPO, and no row of the catalogue "
        f"({', '.join(rows)}).",
        remedy="harness list models",
        code=Exit.MISSING if path.is_absolute() or os.sep in source else Exit.USAGE,
    )


def _lora_folder(folder: Path) -> Path:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise HarnessError(
                f"{folder} has no {name}: it is not a LoRA adapter.",
                known="Pickled adapters (adapter_model.bin) are never loaded.",
                code=Exit.MISSING,
            )
    return folder.resolve()
