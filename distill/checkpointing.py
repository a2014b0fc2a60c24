"""What a training run leaves on disk so that nothing ends it for good: checkpoints and the log.

This module alone knows their layout. A checkpoint is a folder, `step-00000050`, of safetensors and
JSON; it is written aside, fsynced and renamed, so that it is there whole or not at all, and older
ones go only when it is there. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import DataError, HarnessError

if TYPE_CHECKING:
    import torch

MODEL, OPTIMIZER, RANDOM, STATE = (
    "model.safetensors",
    "optimizer.safetensors",
    "random.safetensors",
    "state.json",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that the next step depends on."""

    step: int
    """Optimizer steps done."""
    model: Mapping[str, torch.Tensor]
    """The trained parameters by name."""
    optimizer: Mapping[str, Mapping[str, Any]]
    """Parameter name -> the optimizer's tensors and numbers for it."""
    random: Mapping[str, torch.Tensor]
    """Device -> state of its generator."""
    state: Mapping[str, Any]
    """Schedule and place in the data's order, as JSON values."""


def latest(folder: Path) -> Path | None:
    """The newest checkpoint under `folder`."""
    return max(_all(folder), default=None)


def save(folder: Path, snapshot: Snapshot, *, keep: int) -> Path:
    """Add a checkpoint, then remove all but the `keep` newest.

    Raises:
        OSError, SafetensorError: it could not be written; those that were there still are.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{snapshot.step:08}"
    aside = folder / f".{path.name}.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        tensors, numbers = _flat(snapshot.optimizer)
        for name, values in (
            (MODEL, snapshot.model),
            (OPTIMIZER, tensors),
            (RANDOM, snapshot.random),
        ):
            # Apart from each other: 8-bit Adam keeps one table for all parameters on its device.
            save_file({k: v.detach().cpu().contiguous() for k, v in values.items()}, aside / name)
        state = {"step": snapshot.step, **snapshot.state, "optimizer": numbers}
        (aside / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
        if path.exists():
            _remove(path)
        publish(aside, path)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    for old in sorted(_all(folder))[:-keep]:
        _remove(old)
    return path


def load(path: Path) -> Snapshot:
    """Read a checkpoint, onto the CPU.

    Raises:
        DataError: a file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        tensors = load_file(path / OPTIMIZER)
        optimizer: dict[str, dict[str, Any]] = {}
        for name, value in {**tensors, **state.pop("optimizer")}.items():
            parameter, _, key = name.rpartition("/")
            optimizer.setdefault(parameter, {})[key] = value
        return Snapshot(
            step=state.pop("step"),
            model=load_file(path / MODEL),
            optimizer=optimizer,
            random=load_file(path / RANDOM),
            state=state,
        )
    except (OSError, ValueError, KeyError, AttributeError, SafetensorError) as error:
        raise DataError(
            f"The checkpoint {path} is damaged: {type(error).__name__} {error}.",
            remedy="Remove that folder, and the same command goes on from the one before it.",
        ) from error


def publish(aside: Path, folder: Path) -> None:
    """Give what was written at `aside` its name, all of it on disk; what is there is replaced."""
    for written in (*aside.iterdir(), aside):
        _fsync(written)
    if folder.exists():
        shutil.rmtree(folder)
    aside.rename(folder)
    _fsync(folder.parent)


def clean(folder: Path) -> None:
    """Remove what a killed process left behind half written or half removed."""
    for left in folder.glob(".step-*.tmp"):
        shutil.rmtree(left)


class Log:
    """training_log.jsonl: one line for each optimizer step, each step once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rewind(self, step: int) -> list[dict[str, Any]]:
        """Drop what was logged after `step` (a checkpoint's) and a line that was cut; returns the
        lines that stay.

        Raises:
            DataError: lines up to `step` are missing.
        """
        kept: list[dict[str, Any]] = []
        data = self.path.read_bytes() if self.path.exists() else b""
        end = 0
        for line in data.splitlines(keepends=True)[:step]:
            with contextlib.suppress(ValueError):
                kept.append(json.loads(line))
                end += len(line)
        if [line.get("step") for line in kept] != list(range(1, step + 1)):
            raise DataError(
                f"{self.path} does not have steps 1 to {step}, which the checkpoint has done.",
                remedy="Put the file back, or use --fresh.",
            )
        if end < len(data):
            with open(self.path, "r+b") as file:
                file.truncate(end)
                os.fsync(file.fileno())
        return kept

    def append(self, line: Mapping[str, Any]) -> None:
        """Append and fsync."""
        with open(self.path, "ab") as file:
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for training; the kernel lets go when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".train.lock", "a+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HarnessError(
                f"Another process is training in {folder}.",
                remedy="Wait for it, or choose another folder.",
            ) from None
        yield


def _all(folder: Path) -> list[Path]:
    return [p for p in folder.glob("step-*") if re.fullmatch(r"step-\d{8}", p.name)]


def _remove(path: Path) -> None:
    """At no time is half a checkpoint there under a checkpoint's name."""
    aside = path.with_name(f".{path.name}.old.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    shutil.rmtree(aside)


def _flat(
    optimizer: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """`parameter/key` -> tensor, and the same of what is no tensor."""
    import torch

    flat = {f"{name}/{key}": v for name, kept in optimizer.items() for key, v in kept.items()}
    tensors = {name: v for name, v in flat.items() if isinstance(v, torch.Tensor)}
    return tensors, {name: v for name, v in flat.items() if name not in tensors}


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
