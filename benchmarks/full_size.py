"""Moondream and Phi-3.5-vision at full size with random weights: memory, prefill and decoding.

    python benchmarks/full_size.py --device cuda

One batch of questions, each with one picture, goes through the model as `generate` runs it. Random
weights cost what trained ones cost; the answers mean nothing, and none ends early. The last line is
one JSON document.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

import harness.models
from harness.core import environment, timing
from harness.core.devices import release_memory, synchronize
from harness.families.moondream import tiny as moondream
from harness.families.phi3v import tiny as phi3v

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def moondream_batch(model: Any, pictures: list[Image.Image], words: int) -> dict[str, torch.Tensor]:
    config = model.config
    images = harness.models.MoondreamImageProcessor(config.vision_config.image_size)
    inputs = dict(images(pictures, return_tensors="pt"))
    slots = [config.image_token_id] * config.image_seq_length
    return {**_tokens([slots] * len(pictures), words), **inputs}


def phi3v_batch(model: Any, pictures: list[Image.Image], words: int) -> dict[str, torch.Tensor]:
    config = model.config
    images = harness.models.Phi3VImageProcessor(
        num_crops=4, image_size=config.crop_size, patch_size=config.patch_size
    )
    inputs = dict(images(pictures, return_tensors="pt"))
    counts = inputs.pop("num_img_tokens").tolist()
    return {**_tokens([[config.image_token_id] * count for count in counts], words), **inputs}


FAMILIES = {
    "moondream": (moondream.random_model, moondream_batch),
    "phi-3.5": (phi3v.random_model, phi3v_batch),
}


def _tokens(slots: list[list[int]], words: int) -> dict[str, torch.Tensor]:
    """Prompts of equal length: a picture's slots, then `words` ordinary tokens."""
    ids = torch.tensor([[*row, *range(100, 100 + words)] for row in slots])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def measure(
    name: str, *, size: str, batch: int, words: int, new_tokens: int, device: str, dtype: str
) -> dict[str, Any]:
    """One model's figures: seconds, tokens per second over the whole batch, bytes."""
    make, make_batch = FAMILIES[name]
    release_memory(device)
    timing.reset_peak_device_memory(device)
    model: Any = make(size=size, dtype=DTYPES[dtype], device=device)
    # As tall as wide: both models then look at the most tiles or crops that they take by default.
    pixels = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    started = time.perf_counter()
    inputs = make_batch(model, [Image.fromarray(pixels)] * batch, words)
    preprocessing = time.perf_counter() - started
    inputs = {
        key: value.to(device, DTYPES[dtype] if value.is_floating_point() else None)
        for key, value in inputs.items()
    }

    def generate(tokens: int) -> None:
        model.generate(**inputs, do_sample=False, max_new_tokens=tokens, min_new_tokens=tokens)

    generate(2)  # the first pass allocates and chooses kernels
    prefill = _seconds(lambda: generate(1), device)
    whole = _seconds(lambda: generate(new_tokens), device)
    prompt = inputs["input_ids"].shape[1]
    return {
        "model": name,
        "size": size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": dtype,
        "attention": model.config._attn_implementation,  # noqa: SLF001  # no public name
        "batch": batch,
        "prompt_tokens": prompt,
        "new_tokens": new_tokens,
        "preprocessing_seconds": preprocessing,
        "prefill_seconds": prefill,
        "prefill_tokens_per_second": batch * prompt / prefill,
        "decode_tokens_per_second": batch * (new_tokens - 1) / max(whole - prefill, 1e-9),
        "weights_bytes": sum(p.numel() * p.element_size() for p in model.parameters()),
        "peak_device_bytes": timing.peak_device_memory(device),
        "peak_host_bytes": timing.peak_process_memory(),
    }


def _seconds(run: Callable[[], None], device: str, repeats: int = 3) -> float:
    """The median wall time of `repeats` runs, device included."""
    times = []
    for _ in range(repeats):
        synchronize(device)
        started = time.perf_counter()
        run()
        synchronize(device)
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=[*FAMILIES, "both"], default="both")
    parser.add_argument("--size", choices=["full", "tiny"], default="full")
    parser.add_argument("--batch", type=int, default=4, help="questions in the batch")
    parser.add_argument("--words", type=int, default=128, help="prompt tokens beside the picture's")
    parser.add_argument("--new-tokens", type=int, default=128, help="tokens to decode, 2 or more")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=list(DTYPES), default="bfloat16")
    options = vars(parser.parse_args())
    if options["new_tokens"] < 2:
        parser.error("--new-tokens: decoding is timed from the second token on")
    chosen = options.pop("model")
    names = list(FAMILIES) if chosen == "both" else [chosen]
    results = []
    for name in names:
        print(f"{name}: making {options['size']} weights on {options['device']} ...", flush=True)
        results.append(measure(name, **options))
        last = results[-1]
        print(
            f"{name}: prefill {last['prefill_tokens_per_second']:.0f} tokens/s, "
            f"decoding {last['decode_tokens_per_second']:.1f} tokens/s"
        )
    print(json.dumps({"environment": environment.describe(options["device"]), "results": results}))


if __name__ == "__main__":
    main()
