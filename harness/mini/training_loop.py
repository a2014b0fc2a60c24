"""The training loop of every mini: stages, optimizers, learning rate and batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from harness.core.progress import Make, Silent

_WINDOW = 40
"""Steps whose mean loss decides whether a stage may end."""
_BUCKET = 8
"""Batches whose rows are sorted by length together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Steps with one mix of examples.

    The fields' names and values decide the names of kept stages, and so what can be resumed.
    """

    name: str
    steps: int
    """At most."""
    rate: float
    """The peak of the learning rate, after a short warm-up; it decays to a tenth of it where
    `falling`."""
    mix: Mapping[str, int]
    """Kind of text or example -> rows of each step. Each kind of example weighs the same, and as
    much as all texts together."""
    until: float = 0.0
    """The stage ends early when the mean loss of its last steps is below this."""
    few: float = 0.0
    """The fraction of texts that are made of a few words only."""
    frozen: bool = False
    """The vision encoder and the projector are not trained: each image is encoded once. Only where
    image features stand in the sequence."""
    falling: bool = False
    """Cosine decay of the learning rate."""


def run_stage(
    stage: Stage,
    network: nn.Module,
    step_losses: Callable[[], Iterator[tuple[Tensor, int]]],
    *,
    progress: Make = Silent,
) -> list[float]:
    """Train for one stage; returns the loss of each step.

    Args:
        step_losses: the parts of one step, each as the sum over its targets and their number.
    """
    network.train()
    parameters = list(network.parameters())
    optimizers = _optimizers(network)
    losses = []
    with progress(stage.name, total=stage.steps, done=0, unit="steps") as bar:
        for step in range(stage.steps):
            for optimizer, factor in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate_at(step, stage) * factor
            total = 0.0
            for loss, number in step_losses():
                # Each part weighs the same, however long its answers are.
                mean = loss / max(number, 1)
                mean.backward()  # type: ignore[no-untyped-call]  # torch is typed in part
                total += mean.item()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            for optimizer, _ in optimizers:
                optimizer.step()
            network.zero_grad()
            losses.append(total)
            bar.advance(loss=total)
            if sum(losses[-_WINDOW:]) < stage.until * _WINDOW and len(losses) >= _WINDOW:
                break
    network.eval()
    return losses


_MUON_FACTOR = 2.5
"""Muon's learning rate as a multiple of a stage's."""


def _optimizers(network: Any) -> list[tuple[torch.optim.Optimizer, float]]:
    """Muon for the inner matrices, AdamW for all else, each with its multiple of the rate.

    With AdamW alone reasoning from a caption took twice the steps.
    """
    head = network.get_output_embeddings()
    inner = {
        id(module.weight)
        for module in network.modules()
        if isinstance(module, nn.Linear) and module is not head
    } - {id(network.get_input_embeddings().weight)}
    matrices = [p for p in network.parameters() if id(p) in inner]
    others = [p for p in network.parameters() if id(p) not in inner]
    muon = torch.optim.Muon(matrices, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    return [(muon, _MUON_FACTOR), (adam, 1.0)]


def rate_at(step: int, stage: Stage) -> float:
    """The learning rate of a step, 0 to steps - 1."""
    warm = min(1.0, (step + 1) / max(1, min(50, stage.steps // 10)))
    if not stage.falling:
        return stage.rate * warm
    return stage.rate * warm * (0.1 + 0.45 * (1 + math.cos(math.pi * step / stage.steps)))


class HasTokens(Protocol):
    """Any encoded example."""

    @property
    def ids(self) -> Sequence[int]: ...


R = TypeVar("R", bound=HasTokens)


class EndlessBatches(Generic[R]):
    """Batches of similar lengths without end: all rows, shuffled again in each epoch."""

    def __init__(self, rows: Sequence[R], rng: Random) -> None:
        self._rows = rows
        self._rng = rng
        self._waiting: list[list[R]] = []
        self._order: list[R] = []

    def __call__(self, number: int) -> Sequence[R]:
        if not self._waiting:
            bucket: list[R] = []
            while len(bucket) < number * _BUCKET:
                if not self._order:
                    self._order = list(self._rows)
                    self._rng.shuffle(self._order)
                bucket.append(self._order.pop())
            bucket.sort(key=lambda row: len(row.ids))
            self._waiting = [bucket[i : i + number] for i in range(0, len(bucket), number)]
            self._rng.shuffle(self._waiting)
        return self._waiting.pop()
