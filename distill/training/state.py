"""What the next optimizer step depends on: trained weights, optimizer, generators, order.

`TrainingState` takes a checkpoint's snapshot of it, and puts one back.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from distill.config import DistillConfig
from distill.examples import Example
from distill.training.checkpointing import Snapshot
from distill.training.loss_scale import LossScale
from distill.training.parallel import Processes
from distill.training.schedule import learning_rate
from distill.training.student import Student
from harness.core.errors import DataError


class TrainingState:
    """The student's trained parameters with their optimizer, and the order of the samples."""

    def __init__(
        self,
        student: Student,
        steps: Sequence[Sequence[Example]],
        config: DistillConfig,
        processes: Processes,
    ) -> None:
        """Give the student's parameters an optimizer, and both to accelerate."""
        self._config = config
        self._processes = processes
        self._steps = len(steps)
        ids = [[example.sample.id for example in step] for step in steps]
        self._order = sha256(json.dumps(ids).encode()).hexdigest()
        if processes.sharded:
            student.shard(processes.count)
        self.parameters = {n: p for n, p in student.module.named_parameters() if p.requires_grad}
        """The trained ones by name."""
        self.loss_scale = LossScale(enabled=config.precision == "float16" and config.loss_scaling)
        optimizer = _optimizer(list(student.trainable()), config, device=processes.device)
        prepare = processes.accelerator.prepare
        if processes.sharded:
            self.optimizer = prepare(optimizer, device_placement=[False])
        else:
            student.module, self.optimizer = prepare(
                student.module, optimizer, device_placement=[False, False]
            )

    def snapshot(self, step: int) -> Snapshot:
        """The state after `step`."""
        state = self.optimizer.state_dict()["state"]
        names = list(self.parameters)
        return Snapshot(
            step=step,
            model=self.parameters,
            optimizer={names[index]: kept for index, kept in state.items()},
            random=self._random(),
            state={
                "schedule": {
                    "steps": self._steps,
                    "lr": learning_rate(step, self._steps, self._config),
                },
                "order": {
                    "seed": self._config.seed,
                    "next_step": step + 1,
                    "sha256": self._order,
                },
                "loss_scale": self.loss_scale.state(),
            },
        )

    def restore(self, snapshot: Snapshot, path: Path) -> None:
        """Put back the state that the checkpoint at `path` holds.

        Raises:
            DataError: it is of other samples, of another order or of another model.
        """
        expected = {"steps": self._steps, "sha256": self._order}
        state = snapshot.state
        found = None
        with contextlib.suppress(KeyError, TypeError):
            found = {"steps": state["schedule"]["steps"], "sha256": state["order"]["sha256"]}
        shapes = ({n: t.shape for n, t in s.items()} for s in (snapshot.model, self.parameters))
        kept, ours = shapes
        if found != expected or kept != ours or not self._fits(snapshot.optimizer):
            raise DataError(
                f"The checkpoint {path} was made with other samples, in another order, or of "
                "another model.",
                remedy="Put them back as they were, or use --fresh.",
            )
        with torch.no_grad():
            for name, tensor in snapshot.model.items():
                self.parameters[name].copy_(tensor)
        whole = self.optimizer.state_dict()
        places = {name: place for place, name in enumerate(self.parameters)}
        whole["state"] = {places[name]: dict(kept) for name, kept in snapshot.optimizer.items()}
        self.optimizer.load_state_dict(whole)
        self.loss_scale.restore(state.get("loss_scale"))
        try:
            torch.set_rng_state(snapshot.random["cpu"])
        except (KeyError, RuntimeError, TypeError) as error:
            raise DataError(
                f"The checkpoint {path} is damaged: its state of random numbers cannot be used.",
                remedy="Remove that folder and run the same command again: it resumes from the "
                "one before it.",
            ) from error
        if self._processes.device.startswith("cuda") and "cuda" in snapshot.random:
            torch.cuda.set_rng_state(snapshot.random["cuda"], self._processes.device)
        if self._processes.device.startswith("mps") and "mps" in snapshot.random:
            torch.mps.set_rng_state(snapshot.random["mps"])

    def _fits(self, optimizer: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether an optimizer's state is of these parameters: no other moments than theirs."""
        moments = [
            (self.parameters.get(name), kept.get(key))
            for name, kept in optimizer.items()
            for key in ("exp_avg", "exp_avg_sq")
        ]
        return optimizer.keys() <= self.parameters.keys() and all(
            parameter is not None and (moment is None or moment.shape == parameter.shape)
            for parameter, moment in moments
        )

    def _random(self) -> dict[str, torch.Tensor]:
        states = {"cpu": torch.get_rng_state()}
        if self._processes.device.startswith("cuda"):
            states["cuda"] = torch.cuda.get_rng_state(self._processes.device)
        if self._processes.device.startswith("mps"):
            states["mps"] = torch.mps.get_rng_state()
        return states


def _optimizer(
    parameters: list[torch.nn.Parameter], config: DistillConfig, *, device: str
) -> torch.optim.Optimizer:
    settings = optimizer_settings(config, device=device)
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, **settings)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **settings)
    from bitsandbytes.optim import Adam8bit  # type: ignore[import-not-found]  # optional

    made: torch.optim.Optimizer = Adam8bit(parameters, **settings)
    return made


def optimizer_settings(config: DistillConfig, *, device: str) -> dict[str, Any]:
    """The optimizer's arguments. On a GPU torch's own are fused: one kernel reads and writes all
    parameters once, where the default makes copies of them."""
    settings: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": (config.beta1, config.beta2),
        "eps": config.epsilon,
    }
    if config.optimizer == "adamw":
        settings["weight_decay"] = config.weight_decay
    if config.optimizer != "adam8bit" and device.startswith("cuda"):
        settings["fused"] = True
    return settings
