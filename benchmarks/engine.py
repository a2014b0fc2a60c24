"""The decoding engine against transformers' generate: the same checkpoint, questions and tokens.

    python benchmarks/engine.py
    python benchmarks/engine.py --model moondream --device cuda
    python benchmarks/engine.py --model phi-3.5 --device cuda

Ways of answering take turns in one run, on the same questions: one question at a time, as the
paper's loop has it; fixed batches of 16; the engine; and lmms-eval where it is installed. Seconds
are the clock's or, with --clock processor, the processor's own, which other work on the machine
changes little. Loading is outside, and so is preprocessing, but for lmms-eval's.

Random weights cost what trained ones cost, but they seldom end an answer. So that lengths are
spread as trained models' are, a share of all tokens ends one: --ends 0.01 gives answers of about a
hundred tokens, some of a few and some of all that are allowed. All ways have the same ends, and
must give the same texts; where they do not, their share is told, and in float32 it is an error.
A ratio holds for the lengths that are printed with it. What the engine reaches is set against a
matrix product and a copy that are measured in the same run. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

from harness.checkpoints.resolve import find_checkpoint
from harness.core import environment
from harness.core.devices import synchronize
from harness.core.prompts import user_text
from harness.core.types import Decoding, Output, Prompt
from harness.engine.decode_step import decode
from harness.families.tiny import build
from harness.models.loading import LoadOptions, load
from harness.run.bench import Ceilings, probe

Way = Callable[[], Sequence[Output | str]]


@dataclass
class Work:
    """What the engine's decode steps did."""

    steps: int = 0
    tokens: int = 0
    """Over all steps, one for each occupied slot."""
    columns: int = 0
    """Keys that they attended to, over all slots and steps."""

    def decode(
        self, runner: Any, cache: Any, tokens: torch.Tensor, positions: Any, kv_length: int
    ) -> None:
        """A decode step, counted."""
        self.steps += 1
        self.tokens += len(tokens)
        self.columns += len(tokens) * kv_length
        decode(runner, cache, tokens, positions, kv_length)


def build_40m(folder: Path) -> None:
    """A LLaVA of 40 million parameters: CLIP of 6 layers, Llama of 11."""
    build("llava", folder)
    config = transformers.LlavaConfig.from_pretrained(folder)
    for part, sizes in (
        (config.vision_config, (256, 1024, 6, 8)),
        (config.text_config, (512, 1408, 11, 8)),
    ):
        part.hidden_size, part.intermediate_size = sizes[:2]
        part.num_hidden_layers, part.num_attention_heads = sizes[2:]
    config.text_config.num_key_value_heads = 8
    config.text_config.head_dim = 64
    config.vision_config.image_size, config.vision_config.patch_size = 224, 16
    torch.manual_seed(0)
    model = transformers.LlavaForConditionalGeneration(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.06)
    model.save_pretrained(folder)
    processor = transformers.AutoProcessor.from_pretrained(folder, backend="pil")
    processor.patch_size = 16
    processor.image_processor.size = {"shortest_edge": 224}
    processor.image_processor.crop_size = {"height": 224, "width": 224}
    processor.save_pretrained(folder)


def draw(number: int, side: int) -> list[Prompt]:
    """Questions of 5 to 60 words, each with a picture of its own."""
    chance = random.Random(0)
    pixels = np.random.default_rng(0)
    prompts = []
    for _ in range(number):
        words = chance.choices(["which", "of", "these", "is", "it", "map", "true"], k=55)
        text = " ".join(words[: chance.randint(5, 55)]) + "? Options: A: x, B: y"
        picture = Image.fromarray(pixels.integers(0, 256, (side, side, 3), dtype=np.uint8))
        prompts.append(Prompt(text=text, question=text, choices=("x", "y"), images=(picture,)))
    return prompts


def end_often(models: Sequence[Any], share: float) -> Sequence[int]:
    """Let a share of all tokens end an answer, the same ones for all models; returns them."""
    words = models[0].network.config.get_text_config().vocab_size
    ends = set(random.Random(0).sample(range(words), max(1, round(share * words))))
    for model in models:
        model._end_tokens = frozenset(ends)  # noqa: SLF001  # no user chooses them
        model.network.generation_config.eos_token_id = sorted(ends)
    return sorted(ends)


def lmms_eval(
    folder: Path, prompts: Sequence[Prompt], given: argparse.Namespace, ends: Sequence[int]
) -> Callable[[], list[str]] | None:
    """lmms-eval's class for LLaVA, which answers one at a time; None where it is not installed, or
    the model is another."""
    if given.model != "40m" or not find_spec("lmms_eval"):
        return None
    from lmms_eval.api.instance import Instance
    from lmms_eval.models.simple.llava_hf import LlavaHf

    template = "{% for m in messages %}USER: {{ m['content'] }} {% endfor %}ASSISTANT:"
    model = LlavaHf(
        str(folder),
        device=given.device,
        device_map=given.device,
        dtype=given.dtype,
        chat_template=template,
    )
    model.task_dict = {"drawn": {"test": prompts}}
    generate = model.model.generate
    model.model.generate = lambda **options: generate(**{**options, "eos_token_id": list(ends)})
    requests = [
        Instance(
            request_type="generate_until",
            arguments=(
                user_text(prompt),
                {"max_new_tokens": given.max_new_tokens},
                lambda prompt: list(prompt.images),
                number,
                "drawn",
                "test",
            ),
            idx=0,
            metadata={"task": "drawn", "doc_id": number, "repeats": 1},
        )
        for number, prompt in enumerate(prompts)
    ]
    return lambda: model.generate_until(requests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["40m", "moondream", "phi-3.5"], default="40m")
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--max-new-tokens", type=int, default=512)
    parser.add_argument("--ends", type=float, default=0.01, help="share of tokens that end")
    parser.add_argument("--slots", type=int, default=32, help="of the engine")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="*", help="those whose name begins so; default: all")
    parser.add_argument("--side", type=int, default=224, help="of a picture, in pixels")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--dtype", default="")
    given = parser.parse_args()
    given.dtype = dtype = given.dtype or ("float32" if given.device == "cpu" else "bfloat16")
    prompts = draw(given.questions, given.side)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / given.model
        if given.model == "40m":
            build_40m(folder)
        else:
            build(given.model, folder, size="full")
        checkpoint = find_checkpoint(str(folder))
        options = {"device": given.device, "dtype": dtype}
        theirs: Any = load(checkpoint, LoadOptions(engine="transformers", **options))
        ours: Any = load(checkpoint, LoadOptions(**options))
        ends = end_often((theirs, ours), given.ends)
        peer = lmms_eval(folder, prompts, given, ends)
    decoding = Decoding(max_new_tokens=given.max_new_tokens)
    rows = theirs.prepare(prompts)

    def generated(size: int) -> list[Output]:
        return [
            output
            for start in range(0, len(rows), size)
            for output in theirs.generate(rows[start : start + size], decoding)
        ]

    def streamed() -> list[Output]:
        prepared = ((number, [row]) for number, row in enumerate(rows))
        found = {
            one.number: one.output for one in ours.stream(prepared, decoding, slots=given.slots)
        }
        return [found[number] for number in range(len(rows))]

    ways: dict[str, Way] = {
        "engine": streamed,
        "generate, batches of 16": lambda: generated(16),
        "generate, one at a time": lambda: generated(1),
        **({"lmms-eval, one at a time": peer} if peer else {}),
    }
    if given.ways:
        ways = {name: way for name, way in ways.items() if name.startswith(tuple(given.ways))}
    ceilings = probe(given.device, dtype)
    work = Work()
    ours.decode = work.decode
    taken, expected, differing = compete(ways, given, before=ours.forget_images)
    if dtype == "float32" and differing:
        raise SystemExit(f"{differing} answers differ")
    told = {
        "environment": environment.describe(given.device),
        "threads": torch.get_num_threads(),
        "clock": given.clock,
        "model": given.model,
        "parameters": ours.description["parameters"],
        "dtype": dtype,
        "questions": given.questions,
        "slots": given.slots,
        "prompt_tokens": [min(r.length for r in rows), max(r.length for r in rows)],
        **summary(taken, sorted(output.tokens for output in expected)),
        "differing_answers": differing,
        "engine": shares(ours, rows, work, ceilings, taken["engine"]),
    }
    print(json.dumps(told))


def shares(
    model: Any, rows: Sequence[Any], work: Work, ceilings: Ceilings, taken: Sequence[float]
) -> dict[str, float]:
    """What the engine reached, over all rounds: tokens a second, and the shares of the measured
    matrix product and of the measured bandwidth. Counted are the language model's weights, each
    multiplied with every token and read in every step, and the keys and values; the vision encoder
    is left out of both, though its time is not."""
    text = model.network.config.get_text_config()
    vision = sum(p.numel() for n, p in model.network.named_parameters() if "vision" in n)
    embedding = model.network.get_input_embeddings().weight.numel()
    weights = sum(p.numel() for p in model.network.parameters()) - vision - embedding
    width = text.num_hidden_layers * text.hidden_size
    heads = text.num_key_value_heads / text.num_attention_heads
    rounds, seconds = len(taken), sum(taken) * len(rows)
    prompts = rounds * sum(row.length for row in rows)
    flops = 2 * weights * (prompts + work.tokens) + 4 * width * work.columns
    size = model.network.dtype.itemsize
    moved = size * (weights * work.steps + 2 * width * heads * work.columns)
    return {
        "answer_tokens_per_second": (work.tokens + rounds * len(rows)) / seconds,
        "matmul_share": flops / seconds / ceilings.flops,
        "bandwidth_share": moved / seconds / ceilings.bandwidth,
        "flops_of_a_matmul": ceilings.flops,
        "bytes_per_second_of_a_copy": ceilings.bandwidth,
    }


def compete(
    ways: dict[str, Way], given: argparse.Namespace, before: Callable[[], None]
) -> tuple[dict[str, list[float]], list[Output], int]:
    """Seconds a question of each way and round, the first way's answers, and how many differ."""
    clock = time.process_time if given.clock == "processor" else time.perf_counter
    taken: dict[str, list[float]] = {name: [] for name in ways}
    expected: list[Output] = []
    differing = 0
    for _ in range(given.rounds):
        for name, way in ways.items():
            before()
            synchronize(given.device)
            started = clock()
            found = way()
            taken[name].append((clock() - started) / given.questions)
            print(f"{name}: {1 / taken[name][-1]:.3f} questions/s", flush=True)
            expected = expected or [one for one in found if isinstance(one, Output)]
            pairs = zip(map(text_of, found), map(text_of, expected), strict=True)
            differing = max(differing, sum(one != other for one, other in pairs))
    return taken, expected, differing


def text_of(answer: Output | str) -> str:
    return (answer if isinstance(answer, str) else answer.raw).strip()


def summary(taken: dict[str, list[float]], lengths: Sequence[int]) -> dict[str, Any]:
    """Medians over the rounds, their spread, and how many times as fast the engine is."""
    medians = {name: statistics.median(times) for name, times in taken.items()}
    return {
        "answer_tokens": {
            "mean": statistics.mean(lengths),
            **{f"p{p}": lengths[p * (len(lengths) - 1) // 100] for p in (10, 50, 90)},
            "most": lengths[-1],
        },
        "seconds_per_question": medians,
        "spread": {name: [min(times), max(times)] for name, times in taken.items()},
        "times_as_fast": {
            name: seconds / medians["engine"]
            for name, seconds in medians.items()
            if name != "engine"
        },
    }


if __name__ == "__main__":
    main()
