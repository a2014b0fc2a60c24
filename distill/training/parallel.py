"""The processes that train together: accelerate started, its settings checked, its loss reported.

This module alone knows accelerate and the launchers' environment.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from distill.config import DistillConfig
from harness.core import processes, timing
from harness.core.errors import Exit, HarnessError

WAIT = timedelta(hours=2)
"""How long processes wait for each other at work of unknown length before they take one for lost:
for all images to be encoded, for a checkpoint to be written."""
_OTHER_WAYS = (
    "ACCELERATE_USE_FSDP",
    "ACCELERATE_USE_DEEPSPEED",
    "ACCELERATE_USE_MEGATRON_LM",
)


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes that train together, seen from one of them; there may be no other."""

    accelerator: Any
    """Accelerate's, which has no types."""
    device: str
    """This process's own, as torch names it."""
    sharded: bool
    """Whether weights, gradients and moments are spread over all of them. Accelerate wraps a model
    in FSDP on accelerators only; sharded by torch itself, the same code runs, and is tested, on
    CPUs."""
    waiting: Any = None
    """The process group in which long work is waited for; None: the default one."""

    @property
    def count(self) -> int:
        return int(self.accelerator.num_processes)

    @property
    def rank(self) -> int:
        return int(self.accelerator.process_index)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes the run's folder."""
        return bool(self.accelerator.is_main_process)

    @property
    def several(self) -> bool:
        return self.count > 1

    def wait(self) -> None:
        """Return when all processes have called it."""
        if self.several:
            from torch import distributed

            distributed.barrier(group=self.waiting)

    def sum(self, *values: float) -> Sequence[float]:
        """Each of `values` summed over all processes."""
        if not self.several:
            return values
        import torch

        tensor = torch.tensor(values, dtype=torch.float32, device=self.device)
        summed: list[float] = self.accelerator.reduce(tensor, reduction="sum").tolist()
        return summed

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, which are data of Python, in the order of their ranks."""
        if not self.several:
            return [value]
        from torch import distributed

        found: list[Any] = [None] * self.count
        distributed.all_gather_object(found, value, group=self.waiting)
        return found

    def peak_memory(self) -> int:
        """The peak in bytes so far: of the accelerator, or else of this process."""
        if self.device.startswith("cuda"):
            import torch

            return torch.cuda.max_memory_allocated(torch.device(self.device))
        return timing.peak_process_memory()

    @contextlib.contextmanager
    def report_loss(self, last_checkpoint: Callable[[], str]) -> Iterator[None]:
        """Turn the loss of another process, which shows as a broken connection, into an error for
        the user.

        Args:
            last_checkpoint: the sentence that says where the run can be resumed.
        """
        from torch.distributed import DistError

        try:
            yield
        except RuntimeError as error:
            broken = isinstance(error, DistError) or "gloo" in str(error)
            if not (self.several and broken):
                raise
            raise HarnessError(
                "Another process of this training is gone.",
                known=f"{str(error).splitlines()[0][:300]} {last_checkpoint()}",
                remedy="Run the same command again to resume, with any number of processes.",
                code=Exit.UNEXPECTED,
            ) from error


def start(config: DistillConfig, device: str) -> Processes:
    """Join the processes that were launched together. Settings of a user's `accelerate config` that
    would change what is computed are left out or refused.

    Args:
        device: as torch names it; of several processes only its kind, and each has its own.

    Raises:
        HarnessError: the launcher's or accelerate's settings do not fit the config or the device.
    """
    from accelerate import Accelerator  # type: ignore[import-untyped]  # it has no types
    from accelerate.utils import (  # type: ignore[import-untyped]
        GradientAccumulationPlugin,
        InitProcessGroupKwargs,
    )

    place = processes.here()
    if config.parallel == "fsdp2" and not place.launched:
        raise HarnessError(
            "--parallel fsdp2 spreads the model over several processes, and there is one.",
            remedy="torchrun --no-python --nproc-per-node 2 harness distill train --parallel fsdp2",
        )
    processes.own_device(device)  # refuses one for all; accelerate finds the same
    if device.startswith("cuda"):
        import torch

        processes.require_own_gpu(torch.cuda.device_count())
    for variable in _OTHER_WAYS:
        if os.environ.get(variable, "").lower() in {"1", "true"}:
            raise HarnessError(
                f"accelerate's settings ask for another way of training ({variable}).",
                remedy="Leave it out of accelerate launch, and use --parallel ddp or fsdp2.",
            )
    accelerator = Accelerator(
        cpu=device.startswith("cpu"),
        mixed_precision="no",  # the student's own
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=step_timeout(device))],
    )
    count = accelerator.num_processes
    if count != place.processes:
        raise HarnessError(
            f"{place.processes} processes were launched, and on {device} each would train alone.",
            remedy="--device cpu, or a machine with as many accelerators.",
        )
    waiting = None
    if count > 1:
        from torch import distributed

        ours = accelerator.device
        device = "cpu" if ours.type == "cpu" else str(ours)
        waiting = distributed.new_group(backend="gloo", timeout=WAIT)
    sharded = count > 1 and config.parallel == "fsdp2"
    return Processes(accelerator, device, sharded=sharded, waiting=waiting)


def step_timeout(device: str) -> timedelta:
    """How long processes wait for each other within a step. On GPUs nothing else ends one that
    waits in NCCL for another that hangs; on CPUs a step itself may take long."""
    return timedelta(minutes=20) if device.startswith("cuda") else WAIT


def end_process_group() -> None:
    """Close the connections between processes that trained together, so that each can exit."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
