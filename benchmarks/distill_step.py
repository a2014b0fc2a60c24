"""One optimizer step of the distillation at full size, with random weights: time, memory, and how
much of the device's arithmetic it uses.

    python benchmarks/distill_step.py --device cuda
    python benchmarks/distill_step.py --savings

With --savings, what accumulation, gradient checkpointing, logits in parts and packing save on this
CPU, as ratios to the plain way in one run: of a mini with a vocabulary of 32,000, whose head costs
most, and with its own, whose layers do; the examples are of different lengths. Each way runs in a
process of its own, and all have one loss. Speed is by CPU seconds, which other work on the machine
does not change.

Batches are as in Table 3 of the paper: 16 questions, each with one picture of 729 tokens, in
bfloat16, the text model trained in full. Random weights cost what trained ones cost. The last line
is one JSON document.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import harness.models  # noqa: F401  # makes Moondream known to the auto classes
from distill.config import PRESETS, DistillConfig
from distill.examples import Example
from distill.training.estimate import estimate, flops_of, matrix_rate, parameters_of
from distill.training.features import PICTURES_AT_ONCE
from distill.training.state import optimizer_settings
from distill.training.student import Student
from harness.core import environment, timing
from harness.core.devices import synchronize
from harness.core.images import ImageRef
from harness.core.structured import Rationale
from harness.core.types import Sample
from harness.families.moondream import tiny as moondream
from tasks.scienceqa import TASK

PEAKS = {"A100": 312e12, "H100": 989e12, "H200": 989e12}
"""Dense bfloat16 operations per second, as the maker states them."""
QUESTIONS = 2000


def example(number: int, words: int) -> Example:
    """A question with a picture of its own, and a rationale of about `words` tokens."""
    picture = io.BytesIO()
    Image.new("RGB", (480, 360), (number % 256, 90, 160)).save(picture, "PNG")
    data = picture.getvalue()
    return Example(
        Sample(
            id=str(number),
            question="Which of these states is farthest west?",
            target=1,
            choices=("Alabama", "Illinois"),
            images=(ImageRef(f"{number}.png", lambda: data),),
        ),
        Rationale("What is asked.", "A map.", "w " * (words // 2 - 30), "B"),
    )


def measure(
    base: Path, config: DistillConfig, *, steps: int, words: int, device: str
) -> dict[str, Any]:
    """Seconds per step (the median, the first two left out), bytes, share of the peak."""
    cuda = device.startswith("cuda")
    examples = [example(number, words) for number in range(config.batch_size)]
    expected = estimate(examples, base=base, config=config, task=TASK, device=device)
    timing.reset_peak_device_memory(device)
    with tempfile.TemporaryDirectory() as features:
        student = Student(base, config, TASK, features=Path(features), device=device)
        picture_seconds = {
            number: _seconds_per_picture(student, examples, at_once=number)
            for number in (1, PICTURES_AT_ONCE)
        }
        optimizer = torch.optim.Adam(
            student.trainable(), **optimizer_settings(config, device=device)
        )
        size = config.micro_batch_size
        seconds = []
        for _ in range(steps + 2):
            started = time.perf_counter()
            for at in range(0, len(examples), size):
                batch = student.encode(examples[at : at + size])
                (student.loss(batch) / config.accumulation).backward()
            optimizer.step()
            optimizer.zero_grad()
            synchronize(device)
            seconds.append(time.perf_counter() - started)
        rows = [student.rows(each)[0] for each in examples]
    step_seconds = sorted(seconds[2:])[steps // 2]
    sequences = [(len(row.ids), sum(weight > 0 for weight in row.weights)) for row in rows]
    lengths, targets = zip(*sequences, strict=True)
    parts, _ = parameters_of(student.network, config)
    shape, once = student.network.model.config, replace(config, epochs=1)
    flops = flops_of(shape, parts, sequences, once, image_tokens=0)
    rate = matrix_rate(config.precision, device)
    name = torch.cuda.get_device_name(device) if cuda else "CPU"
    peak = next((value for key, value in PEAKS.items() if key in name), None)
    encoding = QUESTIONS * picture_seconds[PICTURES_AT_ONCE]
    whole = -(-QUESTIONS // config.batch_size) * step_seconds + encoding
    return {
        "parameters": expected.parameters,
        "trained": expected.trained,
        "precision": config.precision,
        "batch": config.batch_size,
        "accumulation": config.accumulation,
        "gradient_checkpointing": config.gradient_checkpointing,
        "tokens_per_sequence": sum(lengths) / len(lengths),
        "target_tokens_per_sequence": sum(targets) / len(targets),
        "image_tokens": student.image_tokens,
        "step_seconds": step_seconds,
        "tokens_per_second": sum(lengths) / step_seconds,
        "picture_seconds": picture_seconds[PICTURES_AT_ONCE],
        "picture_seconds_one_by_one": picture_seconds[1],
        "flops_per_step": flops,
        "share_of_matrix_rate": flops / step_seconds / rate,
        "share_of_stated_peak": flops / step_seconds / peak if peak else None,
        "peak_device_bytes": timing.peak_device_memory(device),
        "peak_host_bytes": timing.peak_process_memory(),
        "estimated_bytes": expected.memory_total,
        "table_3_hours": whole / 3600,
    }


def _seconds_per_picture(student: Student, examples: Sequence[Example], *, at_once: int) -> float:
    """Seconds to encode and keep a picture, the first pass left out."""
    pictures = [
        replace(
            each, sample=replace(each.sample, images=(_marked(each.sample.images[0], at_once),))
        )
        for each in examples
    ]
    student.unusable_pictures(pictures[:1])
    started = time.perf_counter()
    for start in range(1, len(pictures), at_once):
        student.unusable_pictures(pictures[start : start + at_once])
    return (time.perf_counter() - started) / max(len(pictures) - 1, 1)


def _marked(image: ImageRef, mark: int) -> ImageRef:
    """The same picture in other bytes, which no run has encoded yet."""
    data = image.read() + bytes([mark])
    return ImageRef(image.label, lambda: data)


_WIDE, _OWN = "vocabulary of 32,000", "vocabulary of the mini"
_VOCABULARY = 32_000
WAYS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    _WIDE: {
        "plain": {},
        "accumulation 4": {"accumulation": 4},
        "logits in parts of 128": {"logits_at_once": 128},
    },
    _OWN: {
        "plain": {},
        "accumulation 4": {"accumulation": 4},
        "gradient checkpointing": {"gradient_checkpointing": True},
        "packing": {"packing": True},
    },
}
"""Head -> way -> what it sets."""
_LENGTHS = (40, 60, 90, 400)


def build_with_vocabulary(folder: Path) -> None:
    """Write a mini with random weights whose head is as wide as that of a full-size model."""
    from harness.families.moondream.classes import (
        MoondreamConfig,
        MoondreamForConditionalGeneration,
    )

    moondream.build(folder, size="mini")
    path = folder / "config.json"
    fields = json.loads(path.read_text())
    fields["text_config"]["vocab_size"] = _VOCABULARY
    model = MoondreamForConditionalGeneration._from_config(MoondreamConfig(**fields))  # noqa: SLF001
    model.save_pretrained(folder)
    path.write_text(json.dumps(fields))


def measure_way(base: Path, config: DistillConfig, steps: int, answer: Any) -> None:
    """Send loss, CPU seconds of the fastest step, and bytes of the peak above those before."""
    examples = [
        example(number, _LENGTHS[number % len(_LENGTHS)]) for number in range(config.batch_size)
    ]
    with tempfile.TemporaryDirectory() as features:
        student = Student(base, config, TASK, features=Path(features))
        student.unusable_pictures(examples)
        size = config.micro_batch_size
        batches = [student.encode(examples[at : at + size]) for at in range(0, len(examples), size)]
        weight = sum(batch.weight for batch in batches)
        before = timing.peak_process_memory()
        seconds, losses = [], []
        for _ in range(steps):
            started = time.process_time()
            parts = []
            for batch in batches:
                part = student.loss(batch) * (batch.weight / weight)
                part.backward()
                parts.append(float(part.detach()))
            student.module.zero_grad()
            seconds.append(time.process_time() - started)
            losses.append(sum(parts))
        peak = timing.peak_process_memory() - before
    answer.send(
        {
            "loss": losses[0],
            "cpu_seconds": min(seconds),
            "tokens_per_cpu_second": sum(batch.tokens for batch in batches) / min(seconds),
            "peak_bytes": peak,
        }
    )


def measure_savings(config: DistillConfig, steps: int) -> dict[str, Any]:
    """Head -> every way, with its ratios to the plain one."""
    found: dict[str, dict[str, Any]] = {}
    for head, ways in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            if head == _WIDE:
                build_with_vocabulary(Path(folder))
            else:
                moondream.build(Path(folder), size="mini")
            measured = {
                name: _in_its_own_process(Path(folder), replace(config, **changes), steps)
                for name, changes in ways.items()
            }
        plain = measured["plain"]
        for each in measured.values():
            each["loss_difference"] = abs(each["loss"] - plain["loss"])
            each["peak_ratio"] = each["peak_bytes"] / plain["peak_bytes"]
            each["speed_ratio"] = each["tokens_per_cpu_second"] / plain["tokens_per_cpu_second"]
        found[head] = measured
    return found


def _in_its_own_process(base: Path, config: DistillConfig, steps: int) -> dict[str, Any]:
    from multiprocessing import get_context

    ours, theirs = get_context("spawn").Pipe()
    work = (base, config, steps, theirs)
    process = get_context("spawn").Process(target=measure_way, args=work)
    process.start()
    theirs.close()  # a process that dies is then noticed
    measured: dict[str, Any] = ours.recv()
    process.join()
    return measured


def print_savings(found: Mapping[str, Any]) -> None:
    for head, measured in found.items():
        print(f"{head:24} {'peak memory':>12} {'tokens/CPU s':>13} {'loss differs by':>16}")
        for name, each in measured.items():
            print(
                f"{name:24} {each['peak_ratio']:>11.2f}x {each['speed_ratio']:>12.2f}x "
                f"{each['loss_difference']:>16.1e}"
            )
    print(json.dumps({"environment": environment.describe("cpu"), "savings": found}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=["full", "tiny"], default="full")
    parser.add_argument("--batch", type=int, default=16, help="questions per optimizer step")
    parser.add_argument("--accumulation", type=int, default=1, help="micro-batches per step")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--words", type=int, default=300, help="target tokens, about")
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed")
    parser.add_argument("--precision", choices=["bfloat16", "float32", "float16"])
    parser.add_argument("--savings", action="store_true", help="compare the ways to save memory")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    config = replace(
        PRESETS["paper"],
        batch_size=options.batch,
        accumulation=options.accumulation,
        gradient_checkpointing=options.gradient_checkpointing,
        precision=options.precision or PRESETS["paper"].precision,
    )
    if options.savings:
        plain = replace(config, precision="float32", gradient_checkpointing=False, accumulation=1)
        print_savings(measure_savings(plain, options.steps))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(f"making {options.size} weights ...", flush=True)
        moondream.build(Path(folder), size=options.size)
        result = measure(
            Path(folder), config, steps=options.steps, words=options.words, device=options.device
        )
    print(f"{result['step_seconds']:.3f} s a step, {result['tokens_per_second']:.0f} tokens/s")
    machine = environment.describe(options.device)
    print(json.dumps({"environment": machine, "size": options.size, **result}))


if __name__ == "__main__":
    main()
