"""What a training run will take, before anyone spends a night: samples, steps, memory, disk, time.

No weights are read. Pictures are processed only where the number of their tokens goes by their
size. Every figure comes with its formula.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from distill.config import DistillConfig, Part
from distill.examples import Example
from distill.objectives import objective_of
from distill.training.lora import adapted_layers
from distill.training.schedule import order
from distill.training.tokens import RowMaker, checkpoint_of
from harness.checkpoints.checkpoint import Checkpoint
from harness.core.devices import synchronize
from harness.core.errors import SampleError
from harness.core.types import Task
from harness.families import family_of
from tasks import scienceqa

if TYPE_CHECKING:
    from distill.training.network import Network

UTILISATION = 0.4
"""Share of the device's rate for plain matrix products that training is taken to reach."""
_SAVED_FLOAT32, _SAVED_MIXED, _SAVED_FLOAT16 = 60, 38, 30
"""Bytes that a layer keeps for the backward pass per token, divided by the width: inputs of the
norm, of the four projections and of the MLP, queries, keys, values and attention's output."""

FORMULAS: Mapping[str, str] = {
    "steps": "epochs x (questions / batch_size, rounded up)",
    "weights": "4 bytes per trained parameter (2 in float16 without loss scaling) + frozen at the "
    "precision's size",
    "gradients": "as many bytes as the trained weights",
    "optimizer": "two moments per trained parameter, of the trained weights' type (1 byte each for "
    "adam8bit)",
    "autocast": "2 bytes per trained parameter, in bfloat16 and in float16 with loss scaling",
    "activations": f"layers x width x tokens x {_SAVED_MIXED} bytes ({_SAVED_FLOAT32} in float32, "
    f"{_SAVED_FLOAT16} in float16 without loss scaling) of the largest micro-batch; with gradient "
    "checkpointing 4 x layers x width x tokens and one layer's whole",
    "logits": "target tokens of the largest micro-batch, at most logits_at_once, x vocabulary x 12 "
    "bytes",
    "flops": "6 x parameters of the layers x tokens + 6 x those of the head x target tokens + 6 x "
    "layers x width x squared lengths (causal attention), a third more with gradient "
    "checkpointing, in every epoch; once 2 x vision and projector parameters x image tokens, for "
    "pictures that are not tiled",
    "seconds": f"flops / ({UTILISATION} x this device's measured rate for matrix products)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Figures before a run."""

    samples: int
    """Examples that fit."""
    left_out: Mapping[str, int]
    """Reason -> examples. Pictures are not looked at, so those that are corrupt are not in it."""
    steps: int
    tokens: int
    """Of all sequences of one epoch, padding left out."""
    target_tokens: int
    parameters: int
    trained: int
    """Parameters that are learned, adapters included."""
    memory: Mapping[str, int]
    """Bytes on the device, by what they hold."""
    disk: Mapping[str, int]
    """Bytes: image features, all checkpoints that are kept and one that is being written, the
    student."""
    flops: float
    """Of the whole run."""
    device_flops: float
    """Multiply-adds count twice; measured, per second."""
    seconds: float
    formulas: Mapping[str, str]

    @property
    def memory_total(self) -> int:
        return sum(self.memory.values())

    @property
    def disk_total(self) -> int:
        return sum(self.disk.values())


def estimate(
    examples: Sequence[Example],
    *,
    base: Path,
    config: DistillConfig,
    task: Task = scienceqa.TASK,
    device: str = "cpu",
) -> Estimate:
    """What `train` with the same arguments will take.

    Raises:
        HarnessError: `base` is not a checkpoint.
    """
    from harness.models.context_length import context_length
    from harness.models.loading import processor_of

    checkpoint = checkpoint_of(base, objective_of(config))
    network = empty_network(checkpoint)
    processor = processor_of(checkpoint, {})
    if network.family.repair:
        network.family.repair(network.model, processor, checkpoint)
    shape = network.model.config
    rows = RowMaker(processor, checkpoint, objective_of(config), task)
    found, left_out = _sequences(
        examples, rows, network, context=context_length(shape), sampled=_sampled(config)
    )
    lengths = [max(length for length, _ in each.sequences) for each in found]
    sequences = [pair for each in found for pair in each.sequences]
    parts, adapters = parameters_of(network, config)
    image_tokens = sum(each.image_tokens for each in found)
    steps = order(lengths, config)
    micro = _micro_batches(found, steps, config.micro_batch_size)
    flops = flops_of(shape, parts, sequences, config, image_tokens=image_tokens)
    rate = matrix_rate(config.precision, device)
    total, trained = sum(parts.values()), adapters or sum(parts[part] for part in config.train)
    return Estimate(
        samples=len(lengths),
        left_out=left_out,
        steps=len(steps),
        tokens=sum(length for length, _ in sequences),
        target_tokens=sum(targets for _, targets in sequences),
        parameters=total,
        trained=trained,
        memory=_memory(
            shape,
            config,
            total=total,
            trained=trained,
            tokens=max((_padded_tokens(batch, config) for batch in micro), default=0),
            targets=max((sum(n for each in batch for _, n in each) for batch in micro), default=0),
        ),
        disk=_disk(shape, config, image_tokens=image_tokens, total=total, trained=trained),
        flops=flops,
        device_flops=rate,
        seconds=flops / (UTILISATION * rate),
        formulas=FORMULAS,
    )


_Lengths = tuple[int, int]
"""Tokens of a sequence, and those of its target."""


@dataclass(frozen=True, slots=True)
class _Example:
    """The sizes of an example."""

    sequences: Sequence[_Lengths]
    image_tokens: int


def _micro_batches(
    found: Sequence[_Example], steps: Sequence[Sequence[int]], size: int
) -> list[list[Sequence[_Lengths]]]:
    """The sequences of the examples that are computed at a time, in each step."""
    return [
        [found[each].sequences for each in step[start : start + size]]
        for step in steps
        for start in range(0, len(step), size)
    ]


def _sampled(config: DistillConfig) -> int:
    """Tokens that the student's own answers add to a sequence, at most; its end token is one."""
    sampling = objective_of(config).sampling
    return sampling.max_new_tokens - 1 if sampling else 0


def _sequences(
    examples: Sequence[Example],
    rows: RowMaker,
    network: Network,
    *,
    context: int | None,
    sampled: int,
) -> tuple[list[_Example], dict[str, int]]:
    """The sequences of each example that fits; reason -> examples of the others.

    Args:
        context: tokens that a sequence may have; None: it is not known.
        sampled: tokens that are not there yet.
    """
    found: list[_Example] = []
    left_out: Counter[str] = Counter()
    for example in examples:
        try:
            made = rows(example)
        except SampleError as error:
            left_out[str(error)] += 1
            continue
        if context is not None and max(len(row.ids) for row in made) + sampled > context:
            left_out[f"longer than the context of {context} tokens"] += 1
            continue
        sizes = [(len(row.ids) + sampled, len(row.answer) + sampled) for row in made]
        found.append(_Example(sizes, network.image_tokens(made[0].prompt)))
    return found, dict(left_out)


def _padded_tokens(batch: Sequence[Sequence[_Lengths]], config: DistillConfig) -> int:
    """Tokens of a batch of examples, padding included."""
    from distill.training.batches import packed

    lengths = [length for each in batch for length, _ in each]
    sequences = packed(lengths) if config.packing else lengths
    return len(sequences) * max(lengths)


def empty_network(checkpoint: Checkpoint) -> Network:
    """The network of a checkpoint without memory for its weights."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    import harness.models  # noqa: F401  # registers the project's own classes
    from distill.training.network import Network
    from harness.checkpoints import pretrained

    build: Any = AutoModelForImageTextToText
    with torch.device("meta"):
        model = build.from_config(pretrained.load(AutoConfig, checkpoint.folder))
    return Network(model, family_of(checkpoint.model_type))


def parameters_of(network: Network, config: DistillConfig) -> tuple[dict[str, int], int]:
    """Parameters of each part, and those of adapters (0 without). One that is in two parts, as
    embeddings that are the head, counts once; `other` are never trained."""
    from distill.training.network import parts_of_parameters

    model = network.model
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    parts = Counter[str](dict.fromkeys(get_args(Part), 0))
    for name, owners in parts_of_parameters(model, network.traits).items():
        order = [part for part in get_args(Part) if part in owners]
        parts[order[0] if order else "other"] += sizes[name]
    if config.lora_rank is None:
        return dict(parts), 0
    names = adapted_layers(model, config, network.traits)
    layers: Any = [model.get_submodule(name) for name in names]
    sides = sum(layer.in_features + layer.out_features for layer in layers)
    return dict(parts), config.lora_rank * sides


def _memory(
    shape: Any, config: DistillConfig, *, total: int, trained: int, tokens: int, targets: int
) -> dict[str, int]:
    half = config.all_in_float16
    mixed = config.precision != "float32" and not half
    text = shape.get_text_config()
    each, frozen = (2 if half else 4), (4 if config.precision == "float32" else 2)
    saved = _SAVED_FLOAT16 if half else _SAVED_MIXED if mixed else _SAVED_FLOAT32
    held = total if config.lora_rank else total - trained
    per_layer = text.hidden_size * tokens * saved
    activations = per_layer * text.num_hidden_layers
    if config.gradient_checkpointing:
        activations = per_layer + 4 * text.hidden_size * tokens * text.num_hidden_layers
    moment = 1 if config.optimizer == "adam8bit" else each
    return {
        "weights": trained * each + held * frozen,
        "gradients": trained * each,
        "optimizer": 2 * trained * moment,
        "autocast": 2 * trained if mixed else 0,
        "activations": activations,
        "logits": 12 * min(targets, config.logits_at_once or targets) * text.vocab_size,
    }


def _disk(
    shape: Any, config: DistillConfig, *, image_tokens: int, total: int, trained: int
) -> dict[str, int]:
    size = 4 if config.precision == "float32" else 2
    features = image_tokens * shape.get_text_config().hidden_size * size
    if {"vision", "projector"} & set(config.train):
        features = 0
    each = 2 if config.all_in_float16 else 4
    moment = 1 if config.optimizer == "adam8bit" else each
    return {
        "features": min(features, int(config.feature_cache_gb * 1e9)),
        "checkpoints": (config.keep_checkpoints + 1) * trained * (each + 2 * moment),
        "student": total * (shape.dtype.itemsize if shape.dtype is not None else 4),
    }


def flops_of(
    shape: Any,
    parts: Mapping[str, int],
    sequences: Sequence[_Lengths],
    config: DistillConfig,
    *,
    image_tokens: int,
) -> float:
    """Floating-point operations of training on these sequences and of encoding pictures of so many
    tokens once; a multiply-add is two."""
    text = shape.get_text_config()
    lengths, targets = zip(*sequences, strict=True) if sequences else ((), ())
    quadratic = 6.0 * text.num_hidden_layers * text.hidden_size * sum(n * n for n in lengths)
    training: float = (
        6.0 * parts["layers"] * sum(lengths) + 6.0 * parts["head"] * sum(targets) + quadratic
    )
    if config.gradient_checkpointing:
        training *= 4 / 3
    seen: float = 2.0 * (parts["vision"] + parts["projector"]) * image_tokens
    return config.epochs * training + seen


def matrix_rate(precision: str, device: str) -> float:
    """Operations per second of square matrix products on `device`, from a fraction of a second."""
    import torch

    side = 4096 if device.startswith("cuda") else 512
    matrix = torch.ones(side, side, dtype=getattr(torch, precision), device=device)

    matrix @ matrix  # the first one chooses a kernel
    synchronize(device)
    started, runs = time.perf_counter(), 0
    while runs < 3 or time.perf_counter() - started < 0.2:
        matrix @ matrix
        runs += 1
        synchronize(device)
    return 2.0 * side * side * side * runs / (time.perf_counter() - started)
