"""The student's answers to questions while it trains: the weights in memory answer, and are left as
they were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from distill.training.student import Student
from harness.core import structured
from harness.core.types import Decoding, Model, Prediction, Sample, Style, Task
from harness.models.in_memory import borrowed
from harness.models.loading import LoadOptions, assemble
from harness.run.prompting import PromptSettings
from harness.run.runner import Runner

_AT_ONCE = 16


@contextmanager
def answering(student: Student) -> Iterator[Model]:
    """The student as a model that answers as in `harness eval`, with dropout off. Generators of
    random numbers, modes and settings are afterwards as before."""
    network = student.network.model
    device = str(network.device)
    on_gpu = [network.device] if device.startswith("cuda") else []
    with (
        torch.random.fork_rng(devices=on_gpu),
        student.gathered(),
        borrowed(network),
        torch.no_grad(),
        student.autocast(),
    ):
        dtype = str(network.dtype).removeprefix("torch.")
        yield assemble(network, student.checkpoint, LoadOptions(device=device, dtype=dtype))


def predictions(
    model: Model, samples: Sequence[Sample], task: Task, *, style: Style, max_new_tokens: int
) -> list[Prediction]:
    """The answers to `samples`, in their order."""
    stop = structured.END if style == "structured" else ""
    runner = Runner(
        model,
        task,
        prompts=PromptSettings(style=style),
        decoding=Decoding(max_new_tokens=max_new_tokens, stop=stop),
        digests={},
    )
    starts = range(0, len(samples), _AT_ONCE)
    batches = [samples[start : start + _AT_ONCE] for start in starts]
    found = {p.sample_id: p for some in runner.answers(batches, slots=_AT_ONCE) for p in some}
    return [found[sample.id] for sample in samples]
