"""The options that say where a run is tracked; part of those in `harness.core.options`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

from harness.core.declarations import TRACKING, Need, Option
from harness.core.suggestions import did_you_mean

TrackerName: TypeAlias = Literal["wandb", "tensorboard", "trackio"]


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    """Names of trackers, each once; several may stand in one, with commas between them."""
    parts = ",".join([given] if isinstance(given, str) else given).split(",")
    names = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    known = get_args(TrackerName)
    for name in names:
        if name not in known:
            raise ValueError(f"{name!r} is none of {', '.join(known)}.{did_you_mean(name, known)}")
    return names


def _project(text: str) -> str:
    """A name that every tracker takes."""
    if not text.strip() or not text.isprintable() or any(c in text for c in "/\\#?%:"):
        raise ValueError(f"{text!r} is no name of a project: write letters, digits, - and _.")
    return text


def _is_tracked(given: Mapping[str, Any]) -> bool:
    return bool(given["track"])


_TRACKED = (Need(_is_tracked, "--track"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingOptions:
    """Where a run can be watched. It changes nothing in the run."""

    trackers: Annotated[
        tuple[TrackerName, ...],
        Option(
            "Log the run to wandb (Weights & Biases), tensorboard or trackio. Default: none.",
            panel=TRACKING,
            flag="track",
            metavar="wandb|tensorboard|trackio",
            default=(),
            given=list[str],
            parse=_names,
            commas=True,
        ),
    ] = ()
    project: Annotated[
        str | None,
        Option(
            "Project of the tracked run. Default: the task's name; for wandb WANDB_PROJECT where "
            "that is set.",
            panel=TRACKING,
            flag="track-project",
            parse=_project,
            needs=_TRACKED,
        ),
    ] = None
    folder: Annotated[
        Path | None,
        Option(
            "Folder of the trackers' files. Default: `tracking` in --runs; for wandb WANDB_DIR and "
            "for trackio TRACKIO_DIR where that is set, else for trackio its own.",
            panel=TRACKING,
            flag="track-dir",
            needs=_TRACKED,
        ),
    ] = None
    samples: Annotated[
        int,
        Option(
            "Maximum number of samples that are logged, with their pictures; 0: none.",
            panel=TRACKING,
            flag="track-samples",
            minimum=0,
            needs=_TRACKED,
        ),
    ] = 50
    runs: Path | None = None
    """In whose `tracking` the files are by default; None: of the run's own --runs."""
