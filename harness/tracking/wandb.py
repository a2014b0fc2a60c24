"""Weights & Biases. What WANDB_PROJECT, WANDB_ENTITY, WANDB_DIR and WANDB_MODE say holds."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from harness.core.errors import HarnessError
from harness.tracking.tracker import Cell, Picture, Start, Table, TrackedRun

_SETTINGS: Mapping[str, Any] = {
    "silent": True,
    "console": "off",  # stdout is the command's own
    # What the run's configuration has is enough: no command line, paths, user and commit.
    "x_disable_meta": True,
    "disable_git": True,
    "save_code": False,
    # Without a network an upload would wait for ever.
    "init_timeout": 60.0,
    "finish_timeout": 120.0,
}
"""Those that the installed release does not know are left out."""
_OFFLINE = frozenset({"offline", "dryrun", "disabled"})
_KEYS = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")


def check() -> None:
    """Refuse to begin where W&B does not start, or would have to ask for a key; raises
    HarnessError."""
    try:
        import wandb

        settings = wandb.setup().settings
    except ImportError as error:
        raise HarnessError(f"--track wandb: the package cannot be imported: {error}.") from error
    except ValueError as error:  # its words can hold a key
        given = ", ".join(sorted(name for name in os.environ if name.startswith("WANDB_")))
        raise HarnessError(
            "--track wandb: W&B refuses its own settings.",
            known=f"In the environment: {given or 'none'}.",
            remedy="Correct or unset the one that is wrong; `wandb status` shows the others.",
        ) from error
    if settings.mode in _OFFLINE or any(os.environ.get(key) for key in _KEYS):
        return
    host = urlsplit(settings.base_url).hostname or ""
    if not _is_in_netrc(host):
        raise HarnessError(
            f"--track wandb: there is no key for {host}.",
            remedy="wandb login, or WANDB_MODE=offline to keep the run here.",
        )


def _is_in_netrc(host: str) -> bool:
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def start(run: TrackedRun, start: Start) -> WandbTracker:
    """Begin a run, or resume it."""
    import wandb

    folder = run.options.folder or os.environ.get("WANDB_DIR") or run.folder
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103  # where there is none, wandb takes /tmp
    known = wandb.Settings.model_fields
    made = wandb.init(
        project=run.options.project or os.environ.get("WANDB_PROJECT") or run.task,
        name=run.name,
        id=start.id,
        resume="allow",
        dir=str(folder),
        config=dict(start.configuration),
        reinit="create_new",  # a run of the caller's own goes on
        settings=wandb.Settings(**{k: v for k, v in _SETTINGS.items() if k in known}),
    )
    made.define_metric(run.axis)
    made.define_metric("*", step_metric=run.axis)
    return WandbTracker(made, axis=run.axis)


class WandbTracker:
    """One run. Its own steps only grow, and a resumed run repeats some: so a step is a metric,
    which the charts have as their axis."""

    def __init__(self, run: Any, *, axis: str) -> None:
        self._run = run
        self._axis = axis

    @property
    def place(self) -> str:
        offline = self._run.settings.mode in _OFFLINE
        return str(self._run.settings.sync_dir if offline else self._run.url)

    def log_metrics(self, values: Mapping[str, float], *, step: int) -> None:
        self._run.log({self._axis: step, **values})

    def log_pictures(self, name: str, pictures: Sequence[Picture], *, step: int) -> None:
        self._run.log({self._axis: step, name: [_cell(picture) for picture in pictures]})

    def log_table(self, name: str, table: Table, *, step: int) -> None:
        import wandb

        rows = [[_cell(cell) for cell in row] for row in table.rows]
        made = wandb.Table(columns=list(table.columns), data=rows)
        self._run.log({self._axis: step, name: made})

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


def _cell(cell: Cell) -> Any:
    if not isinstance(cell, Picture):
        return cell
    import wandb

    return wandb.Image(cell.image, caption=cell.caption or None)
