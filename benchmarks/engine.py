"""The decoding engine against transformers' generate: the same checkpoint, questions and tokens.

    python benchmarks/engine.py
    python benchmarks/engine.py --model moondream --device cuda
    python benchmarks/engine.py --model phi-3.5 --device cuda

Three ways of answering take turns in one run: one question at a time, as the paper's loop has it;
fixed batches of 16; and the engine. Seconds are the clock's or, with --clock processor, the
processor's own, which other work on the machine changes little; loading and preprocessing are
outside.

Random weights cost what trained ones cost, but they seldom end an answer. So that lengths are
spread as trained models' are, a share of all tokens ends one: --ends 0.01 gives answers of about a
hundred tokens, some of a few and some of all that are allowed. All ways have the same ends, and
must give the same texts; where they do not, their share is told, and in float32 it is an error.
The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

from harness import environment
from harness.checkpoints import find_checkpoint
from harness.models.loading import LoadOptions, load
from harness.models.tiny import build
from harness.models.tiny.chat import build_llava
from harness.types import Decoding, Output, Prompt

Way = Callable[[], list[Output]]


def build_40m(folder: Path) -> None:
    """A LLaVA of 40 million parameters: CLIP of 6 layers, Llama of 11."""
    build_llava(folder)
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


def end_often(models: Sequence[Any], share: float) -> None:
    """Let a share of all tokens end an answer, the same ones for all models."""
    words = models[0].network.config.get_text_config().vocab_size
    ends = set(random.Random(0).sample(range(words), max(1, round(share * words))))
    for model in models:
        model._ends = frozenset(ends)  # noqa: SLF001  # no user chooses them
        model.network.generation_config.eos_token_id = sorted(ends)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["40m", "moondream", "phi-3.5"], default="40m")
    parser.add_argument("--questions", type=int, default=96)
    parser.add_argument("--max-new-tokens", type=int, default=512)
    parser.add_argument("--ends", type=float, default=0.01, help="share of tokens that end")
    parser.add_argument("--rows", type=int, default=32, help="rows at once in the engine")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--single", type=int, default=16, help="questions of one at a time")
    parser.add_argument("--side", type=int, default=224, help="of a picture, in pixels")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--dtype", default="")
    given = parser.parse_args()
    dtype = given.dtype or ("float32" if given.device == "cpu" else "bfloat16")
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
    end_often((theirs, ours), given.ends)
    decoding = Decoding(max_new_tokens=given.max_new_tokens)
    rows = theirs.prepare(draw(given.questions, given.side))

    def generated(size: int, number: int) -> list[Output]:
        return [
            output
            for start in range(0, number, size)
            for output in theirs.generate(rows[start : start + size][: number - start], decoding)
        ]

    def streamed() -> list[Output]:
        prepared = ((number, [row]) for number, row in enumerate(rows))
        found = {one.number: one.output for one in ours.stream(prepared, decoding, rows=given.rows)}
        return [found[number] for number in range(len(rows))]

    single = min(given.single, given.questions)
    ways: dict[str, tuple[Way, int]] = {
        "engine": (streamed, given.questions),
        "generate, batches of 16": (lambda: generated(16, given.questions), given.questions),
        "generate, one at a time": (lambda: generated(1, single), single),
    }
    clock = time.process_time if given.clock == "processor" else time.perf_counter
    taken: dict[str, list[float]] = {name: [] for name in ways}
    expected: list[Output] = []
    differing = 0
    for _ in range(given.rounds):
        for name, (way, number) in ways.items():
            ours.forget()
            if given.device != "cpu":
                torch.cuda.synchronize()
            started = clock()
            found = way()
            taken[name].append((clock() - started) / number)
            print(f"{name}: {1 / taken[name][-1]:.3f} questions/s", flush=True)
            expected = expected or found
            differing = max(differing, sum(map(Output.__ne__, found, expected)))
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
        "rows": given.rows,
        "prompt_tokens": [min(r.length for r in rows), max(r.length for r in rows)],
        **summary(taken, sorted(output.tokens for output in expected)),
        "differing_answers": differing,
        "lmms_eval": "not run",
    }
    print(json.dumps(told))


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
