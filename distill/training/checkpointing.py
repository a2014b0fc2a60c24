"""What a training run leaves on disk so that nothing ends it for good: checkpoints and the log.

This module alone knows their layout. A checkpoint is a folder, `step-00000050`, of safetensors and
JSON; it is written aside, fsynced and renamed, so that it is there whole or not at all, and older
ones go only when it is there. Nothing is pickled.

Where the weights are spread over several processes each writes its own shards, through
torch.distributed.checkpoint. Either kind is read by any number of processes.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import DataError
from harness.core.files import locks
from harness.core.files.atomic import publish_folder
from harness.core.files.jsonl import append_lines, cut_after, whole_lines
from harness.core.files.regular import MAX_JSON_BYTES, open_regular, read_regular
from harness.core.json_values import json_object, parse_json

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


def steps(folder: Path) -> list[int]:
    """The steps of the checkpoints under `folder`."""
    return [_step_of(path) for path in _all(folder)]


def latest_step(folder: Path) -> int:
    """The step of the newest checkpoint under `folder`; 0 where there is none."""
    return max(steps(folder), default=0)


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of `step` belongs under `folder`."""
    return folder / f"step-{step:08}"


def save_weights(folder: Path, step: int, weights: Mapping[str, torch.Tensor]) -> None:
    """Write the weights after `step` alone, from which no training resumes."""
    from safetensors.torch import save_file

    path, aside = _names(folder, step)
    _begin(aside)
    save_file({k: v.contiguous() for k, v in weights.items()}, aside / MODEL)
    publish_folder(aside, path)


def save(folder: Path, snapshot: Snapshot, *, keep: int) -> Path:
    """Add a checkpoint, then remove all but the `keep` newest.

    Raises:
        OSError, SafetensorError: it could not be written; those that were there still are.
    """
    from safetensors.torch import save_file

    path, aside = _names(folder, snapshot.step)
    tensors, numbers = _flat(snapshot.optimizer)
    try:
        _begin(aside)
        for name, values in ((MODEL, snapshot.model), (OPTIMIZER, tensors)):
            # Apart from each other: 8-bit Adam keeps one table for all parameters on its device.
            save_file({k: v.detach().cpu().contiguous() for k, v in values.items()}, aside / name)
        _complete(aside, path, snapshot, {"optimizer": numbers})
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    _prune(folder, keep)
    return path


def save_shards(
    folder: Path, snapshot: Snapshot, *, keep: int, first: bool, wait: Callable[[], object]
) -> Path:
    """`save` by all processes together, each of which writes the parts of tensors that it holds.

    Args:
        first: whether this process does what is to be done once.
        wait: returns when all processes have called it.

    Raises:
        OSError: a process could not write; the checkpoints that were there still are.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save as save_together

    path, aside = _names(folder, snapshot.step)
    tensors, numbers = _flat(snapshot.optimizer)
    try:
        if first:
            _begin(aside)
        wait()
        writer = HuggingFaceStorageWriter(str(aside), save_distributed=True)
        save_together({**snapshot.model, **tensors}, storage_writer=writer)
        if first:
            shards = sorted(file.name for file in aside.glob("*.safetensors"))
            _complete(aside, path, snapshot, {"optimizer": numbers, "shards": shards})
    except CheckpointException as error:
        _discard(aside, first=first)
        (rank, (reason, _)), *_ = error.failures.items()
        raise OSError(f"process {rank}: {reason}") from error
    except BaseException:
        _discard(aside, first=first)
        raise
    if first:
        _prune(folder, keep)
    return path


def load(path: Path, *, like: Mapping[str, torch.Tensor] | None = None) -> Snapshot:
    """Read a checkpoint.

    Args:
        like: the parameters by name where they are spread over processes: weights and moments then
            come spread in the same way, each process reading its own parts, and all processes must
            call this. None: everything comes whole, on the CPU.

    Raises:
        DataError: a file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        for file in path.iterdir():
            open_regular(file, within=path).close()
        state = json_object(parse_json(read_regular(path / STATE, limit=MAX_JSON_BYTES)))
        if _step_of(path) != state["step"]:
            raise ValueError(f"it is of step {state['step']!r}")
        random = load_file(path / RANDOM)
        for shard in state.pop("shards", ()):
            (path / shard).stat()  # without it a part would be read as zeros
        if like is None and (path / MODEL).exists():
            tensors = {**load_file(path / MODEL), **load_file(path / OPTIMIZER)}
        else:
            tensors = _load_shards(path, like, without=random)
        model: dict[str, torch.Tensor] = {}
        optimizer: dict[str, dict[str, Any]] = {}
        for name, value in {**tensors, **state.pop("optimizer")}.items():
            parameter, slash, key = name.rpartition("/")
            if slash:
                optimizer.setdefault(parameter, {})[key] = value
            else:
                model[name] = value
        step = int(state.pop("step"))
    except (
        *(OSError, ValueError, KeyError, AttributeError, TypeError),
        *(SafetensorError, CheckpointException),
    ) as error:
        raise DataError(
            f"The checkpoint {path} is damaged: {type(error).__name__} {error}.",
            remedy="Remove that folder and run the same command again: it resumes from the one "
            "before it.",
        ) from error
    return Snapshot(step=step, model=model, optimizer=optimizer, random=random, state=state)


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _load_shards(
    path: Path, like: Mapping[str, torch.Tensor] | None, *, without: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """Every tensor of the checkpoint but those named in `without`."""
    import torch
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load as load_together

    reader = HuggingFaceStorageReader(str(path))
    wanted: dict[str, torch.Tensor] = {}
    for name, about in reader.read_metadata().state_dict_metadata.items():
        if name in without:
            continue
        dtype = about.properties.dtype  # type: ignore[union-attr]  # this reader knows tensors only
        size = about.size  # type: ignore[union-attr]
        parameter = (like or {}).get(name.partition("/")[0])
        if parameter is not None and parameter.shape == size:
            wanted[name] = torch.zeros_like(parameter, dtype=dtype, requires_grad=False)
        else:
            wanted[name] = torch.zeros(size, dtype=dtype)
    with warnings.catch_warnings():
        # That there is a single process needs no saying.
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        load_together(wanted, storage_reader=reader, no_dist=like is None)
    return wanted


def clean(folder: Path) -> None:
    """Remove what a killed process left half written or half removed."""
    for left in folder.glob(".step-*.tmp"):
        shutil.rmtree(left)


class Log:
    """A log of training with one line for each of some optimizer steps, each step once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rewind(self, steps: Sequence[int]) -> list[dict[str, Any]]:
        """Drop what was logged after `steps`, all that a checkpoint has done, and a line that was
        cut; returns the lines that stay.

        Raises:
            DataError: a line of `steps` is missing.
        """
        kept: list[dict[str, Any]] = []
        end = 0
        for line in itertools.islice(whole_lines(self.path), len(steps)):
            with contextlib.suppress(ValueError, TypeError):
                kept.append(json_object(parse_json(line.data)))
                end = line.end
        if [line.get("step") for line in kept] != list(steps):
            raise DataError(
                f"{self.path} does not have all steps up to {steps[-1]}, which the checkpoint has "
                "done.",
                remedy="Put the file back, or use --fresh.",
            )
        cut_after(self.path, end)
        return kept

    def append(self, line: Mapping[str, Any]) -> None:
        """Append and fsync."""
        append_lines(self.path, [json.dumps(line).encode() + b"\n"])


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for training; the kernel lets go when the process ends, however it ends."""
    with locks.locked(folder / ".train.lock", doing="training in"):
        yield


def _names(folder: Path, step: int) -> tuple[Path, Path]:
    """Where the checkpoint of `step` belongs, and where it is written first."""
    path = path_of(folder, step)
    return path, folder / f".{path.name}.tmp"


def _begin(aside: Path) -> None:
    aside.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()


def _complete(aside: Path, path: Path, snapshot: Snapshot, about: Mapping[str, Any]) -> None:
    """Add to the tensors what is no part of them, and give the checkpoint its name."""
    from safetensors.torch import save_file

    save_file({k: v.cpu() for k, v in snapshot.random.items()}, aside / RANDOM)
    state = {"step": snapshot.step, **snapshot.state, **about}
    (aside / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    if path.exists():
        _remove(path)
    publish_folder(aside, path)


def _discard(aside: Path, *, first: bool) -> None:
    if first:
        shutil.rmtree(aside, ignore_errors=True)


def _prune(folder: Path, keep: int) -> None:
    for old in sorted(_all(folder))[:-keep]:
        _remove(old)


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
    """`parameter/key` -> tensor, and the same of what is one number."""
    import torch

    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, Any] = {}
    for name, kept in optimizer.items():
        for key, value in kept.items():
            if isinstance(value, torch.Tensor) and value.dim():
                tensors[f"{name}/{key}"] = value
            else:
                numbers[f"{name}/{key}"] = (
                    value.item() if isinstance(value, torch.Tensor) else value
                )
    return tensors, numbers
