"""Which weights `--model`, `--weights` and `--size` mean.

Published weights are `harness.checkpoints.resolve`'s. This adds those that are not published: the
minis that come with the package, random weights, and the student of a finished distillation.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.checkpoints.catalog import ModelSpec, find, find_type
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import Exit, HarnessError
from harness.core.files.caches import cache_folder
from harness.weights import minis
from harness.weights.students import DISTILLATIONS, finished_students


def resolve_weights(
    model: str,
    *,
    weights: str | None = None,
    revision: str | None = None,
    name: str | None = None,
    lora: Path | None = None,
    size: str = "full",
    runs: Path | None = None,
) -> Checkpoint:
    """The checkpoint that `--model`, `--weights` and `--size` mean.

    Args:
        model: a row of the catalogue, a folder, or ORG/REPO on the hub.
        weights: a folder, or ORG/REPO, in place of the row's own repository; or "random", for
            weights that are made here.
        size: "mini" is the one that comes with the package; of random weights "full", the published
            architecture, "mini" or "tiny".
        runs: where to look for a finished distillation, for a row that is not published.
        lora: a folder with a LoRA adapter.
        revision: branch, tag or commit of the hub repository.
        name: what the run is called; by default the row's, the folder's or the repository's name.

    Raises:
        HarnessError: nothing is there (exit 3), or `model` names nothing (exit 2).
    """
    row = find(model)
    random = weights == "random"
    if random:
        weights = str(_random_weights(row, model, size))
    elif size == "mini" and not weights:
        if revision:
            raise HarnessError(f"--model-revision {revision}: a mini has no revisions.")
        mini = row.name if row else model
        weights = str(minis.find(mini))
        name = name or f"{mini}-mini"
    elif row and row.repo is None and not weights:
        weights = _newest_student(row, runs)
    found = find_checkpoint(
        model,
        weights=weights,
        revision=revision,
        name=name,
        lora=lora,
        alternative=_mini_command(row),
    )
    shipped = found.mini and found.folder.parent == minis.FOLDER
    return replace(found, random=random, shipped=shipped)


def _newest_student(row: ModelSpec, runs: Path | None) -> str:
    """The folder of the student that was last finished under `runs`.

    Raises:
        HarnessError: there is none (exit 3).
    """
    finished = finished_students(runs) if runs else []
    if finished:
        return max(finished)[-1]
    raise HarnessError(
        f"{row.title} has no published weights.",
        known="It is what `harness distill` makes, and there is no finished distillation"
        + (f" under {runs / DISTILLATIONS}." if runs else "."),
        remedy=f"harness distill, or harness eval --model {row.name} --weights FOLDER. "
        f"{_mini_command(row)}",
        code=Exit.MISSING,
    )


def _random_weights(spec: ModelSpec | None, model: str, size: str) -> Path:
    """A folder with random weights for a row of the catalogue; made once, then kept."""
    if spec is None:
        raise HarnessError(
            f"--weights random needs a row of the catalogue, not {model}.",
            remedy="harness list models",
        )
    # Imported here: building needs torch.
    from harness.families.tiny import build

    # A distilled model has the architecture of its student.
    kin = find_type(spec.model_type) or spec
    folder = cache_folder("random") / f"{kin.name}-{size}"
    if not (folder / "config.json").exists():
        build(kin.name, folder, size=size)
    return folder


def _mini_command(spec: ModelSpec | None) -> str:
    """What can be run at once where weights are missing; "" where there is no such model."""
    if spec is None or spec.name not in minis.names():
        return ""
    return (
        "To try the harness without them: "
        f"harness eval --model {spec.name} --size mini --task scienceqa-mini"
    )
