"""`harness bench`: how fast models run here, against what the device can do.

Time, memory and the ceilings are measured; the ceilings are those of a matrix product and of a copy
on the same device and in the same dtype. Questions and pictures are synthetic, and every answer is
as long as asked for; what is answered means nothing.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.core import environment, timing
from harness.core.devices import resolve_device, resolve_dtype, synchronize
from harness.core.errors import SampleError, reason
from harness.core.types import Decoding, Model, Prompt
from harness.engine.continuous_batching import Engine, StopConditions
from harness.engine.decode_step import DecodeStep
from harness.engine.encoded_prompts import EncodedPrompt
from harness.engine.image_features import ImageFeatureCache
from harness.engine.kv_cache import SlotCache
from harness.engine.memory import attempt, is_out_of_memory, release
from harness.models.streaming import StreamingModel, cache_bytes
from harness.synthetic.questions import questions

REPEATS = 3
SHORTEST = 1e-9


class Loaded(Protocol):
    """A model that can be loaded, as `harness.sources.weights.Weights` has it."""

    @property
    def device(self) -> str: ...

    @property
    def dtype(self) -> str: ...

    def load(self) -> Model: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """What the device can do, measured."""

    flops: float
    """Floating point operations a second of a large matrix product."""
    bandwidth: float
    """Bytes a second that a copy reads and writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a model is given to do."""

    batch: int
    words: int
    """Of each question, about as many tokens; the picture's come on top."""
    new_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one model did with one load. Times are medians; None: it has no such thing."""

    model: str
    batch: int
    words: int
    new_tokens: int
    prompt_tokens: float | None = None
    samples_per_second: float | None = None
    preprocess_seconds: float | None = None
    """Of one sample, on the host."""
    first_token_seconds: float | None = None
    """From pixels to the first token, of one sample alone."""
    read_seconds: float | None = None
    """Of the whole batch: pictures and prompts."""
    step_seconds: float | None = None
    tokens_per_second: float | None = None
    """Of all rows, the first token apart."""
    read_flops_share: float | None = None
    """Of the ceiling, while pictures and prompts are read."""
    step_bandwidth_share: float | None = None
    """Of the ceiling: weights and keys that a step has to read at least."""
    peak_memory_bytes: int | None = None
    error: str | None = None
    """Why there are no figures: it did not fit."""


def measure(
    models: Sequence[tuple[str, Loaded]],
    loads: Sequence[Load],
    *,
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """What is measured of the document that `harness bench` prints.

    Args:
        models: name -> where its weights are; they are loaded one after the other.
        report: gets a line for each step.
    """
    found: list[Figures] = []
    ceilings: dict[tuple[str, str], Ceilings] = {}
    described = {}
    for name, source in models:
        place = source.device, source.dtype
        if place not in ceilings:
            report(f"measuring what {place[0]} can do in {place[1]}")
            ceilings[place] = probe(*place)
        report(f"{name}: loading")
        model = source.load()
        described[name] = dict(model.description)
        for load in loads:
            report(f"{name}: batch {load.batch}, {load.words} words, {load.new_tokens} new tokens")
            found.append(_measured(name, model, load, ceilings[place], source.device))
    device = models[0][1].device
    return {
        "environment": environment.describe(device),
        "ceilings": [_shown(*place, reached) for place, reached in ceilings.items()],
        "models": described,
        "figures": [asdict(figures) for figures in found],
    }


def measure_device(device: str, dtype: str) -> dict[str, Any]:
    """The document of `harness bench --machine`: what a device can do, without a model.

    Args:
        device, dtype: as `--device` and `--dtype` give them.
    """
    device = resolve_device(device)
    dtype = resolve_dtype(dtype, device)
    return {
        "environment": environment.describe(device),
        "ceilings": [_shown(device, dtype, probe(device, dtype))],
    }


def _shown(device: str, dtype: str, reached: Ceilings) -> dict[str, Any]:
    return {
        "device": device,
        "dtype": dtype,
        "flops": reached.flops,
        "bytes_per_second": reached.bandwidth,
    }


def probe(device: str, dtype: str) -> Ceilings:
    """What a matrix product and a copy reach."""
    where, kind = torch.device(device), getattr(torch, dtype)
    large = where.type != "cpu"
    side = 8192 if large else 1024
    one = torch.randn(side, side, device=where, dtype=kind)
    source = torch.zeros((1 << 30) if large else (1 << 26), device=where, dtype=torch.uint8)
    target = torch.empty_like(source)
    product = min(_times(lambda: one @ one, where, repeats=5))
    copied = min(_times(lambda: target.copy_(source), where, repeats=5))
    return Ceilings(flops=2 * side**3 / product, bandwidth=2 * source.numel() / copied)


def _measured(name: str, model: Model, load: Load, ceilings: Ceilings, device: str) -> Figures:
    plain = Figures(model=name, **asdict(load))
    where = torch.device(device)
    timing.reset_peak_device_memory(device)

    def run() -> Figures:
        if isinstance(model, StreamingModel):
            return _streamed(plain, model, load, ceilings, where)
        return _whole(plain, model, load, where)

    found, error = attempt(run)  # a load that a model cannot bear is a row too
    if error is None:
        return found
    release(where)
    why = f"out of memory: {error}" if is_out_of_memory(error) else reason(error)
    return replace(plain, error=" ".join(why.split())[:200])


def _streamed(
    plain: Figures, model: StreamingModel, load: Load, ceilings: Ceilings, where: torch.device
) -> Figures:
    """A model of the decoding engine: its passes apart."""
    prompts = draw(load.batch, load.words)
    started = time.perf_counter()
    rows: list[EncodedPrompt] = model.prepare(prompts)
    preprocess = (time.perf_counter() - started) / len(rows)
    runner = model.runner
    model.network.requires_grad_(requires_grad=False)  # the counter of operations asks for it

    engine = Engine(
        runner,
        slots=len(rows),
        stop=StopConditions(load.new_tokens, end_tokens=frozenset()),
        features=ImageFeatureCache(0),  # images are encoded each time
        decode=model.decode,
    )

    def answer(some: Sequence[EncodedPrompt], tokens: int) -> None:
        engine.stop = replace(engine.stop, max_new_tokens=tokens)
        for done in engine.run(iter(enumerate(some))):
            if done.error is not None:
                raise done.error
        if engine.slots < len(rows):
            raise MemoryError(f"{engine.slots} of {len(rows)} rows fit")

    # Memory is taken, kernels are chosen and graphs captured before anything is timed.
    answer(rows, load.new_tokens)
    first = statistics.median(_times(lambda: answer(rows[:1], 1), where))
    read = statistics.median(_times(lambda: answer(rows, 1), where))
    whole = statistics.median(_times(lambda: answer(rows, load.new_tokens), where))
    steps = load.new_tokens - 1
    step = max(whole - read, SHORTEST) / steps
    with FlopCounterMode(display=False) as counter:
        answer(rows, 1)
    flops = counter.get_total_flops()
    length = statistics.mean(row.length for row in rows)
    needed = _step_bytes(model, rows, length + load.new_tokens / 2)
    return replace(
        plain,
        prompt_tokens=length,
        samples_per_second=len(rows) / whole,
        preprocess_seconds=preprocess,
        first_token_seconds=first,
        read_seconds=read,
        step_seconds=step,
        tokens_per_second=len(rows) / step,
        read_flops_share=flops / read / ceilings.flops,
        step_bandwidth_share=needed / step / ceilings.bandwidth,
        peak_memory_bytes=_peak(where),
    )


def _whole(plain: Figures, model: Model, load: Load, where: torch.device) -> Figures:
    """Any other model: from prompts to answers."""
    prompts = draw(load.batch, load.words)
    decoding = Decoding(max_new_tokens=load.new_tokens)
    started = time.perf_counter()
    prepared = model.prepare(prompts)
    preprocess = (time.perf_counter() - started) / len(prompts)
    if failed := [output.error for output in model.generate(prepared, decoding) if output.error]:
        raise SampleError(failed[0])
    seconds = statistics.median(_times(lambda: model.generate(prepared, decoding), where))
    alone = model.prepare(prompts[:1])
    first = statistics.median(
        _times(lambda: model.generate(alone, Decoding(max_new_tokens=1)), where)
    )
    return replace(
        plain,
        samples_per_second=len(prompts) / seconds,
        preprocess_seconds=preprocess,
        first_token_seconds=first,
        read_seconds=seconds,
        peak_memory_bytes=_peak(where),
    )


@torch.inference_mode()
def _step_bytes(model: StreamingModel, rows: Sequence[EncodedPrompt], length: float) -> float:
    """What a step reads at least: the weights that it multiplies with, once, and the keys and
    values of rows of this mean length."""
    runner, row = model.runner, rows[0]
    features: list[torch.Tensor | None] = [None]
    if row.image_digest:
        features = [*runner.encode_images([row])]
    found = runner.prefill([row], features)
    each, fixed = cache_bytes(found.cache, row.length, runner.cross_attention_layers)
    step = DecodeStep(runner, SlotCache(1, cross_attention_layers=runner.cross_attention_layers))
    step.insert(range(1), found, [row.length], capacity=row.length + 1)
    used: dict[int, int] = {}

    def note(module: torch.nn.Module, _arguments: Any) -> None:
        if not isinstance(module, torch.nn.Embedding):  # of which a row is read
            for weight in module.parameters(recurse=False):
                used[id(weight)] = weight.numel() * weight.element_size()

    hooks = [module.register_forward_pre_hook(note) for module in model.network.modules()]
    try:
        step.run_eagerly(1, row.length + 1)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(used.values()) + len(rows) * (each * length + fixed)


def draw(number: int, words: int) -> list[Prompt]:
    """Questions of about so many tokens, each with a picture of its own."""
    chance = random.Random(0)  # noqa: S311  # drawing, not secrecy
    prompts = []
    for item in questions("test", count=number):
        text = " ".join([item.question, *chance.choices(item.question.split(), k=words)])
        asked = Prompt(
            text=text,
            question=item.question,
            choices=item.choices,
            images=(item.draw(),),
            style="direct",
        )
        prompts.append(asked)
    return prompts


def _times(run: Callable[[], Any], where: torch.device, *, repeats: int = REPEATS) -> list[float]:
    """Seconds of each of some runs, the device's work included."""
    taken = []
    for _ in range(repeats):
        synchronize(str(where))
        started = time.perf_counter()
        run()
        synchronize(str(where))
        taken.append(time.perf_counter() - started)
    return taken


def _peak(where: torch.device) -> int:
    return timing.peak_device_memory(str(where)) or timing.peak_process_memory()
