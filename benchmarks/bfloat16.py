"""How many greedy answers differ between float32 and bfloat16, and between batch sizes in it.

    python benchmarks/bfloat16.py --data FOLDER [--device cuda] [--weights ROW=FOLDER ...]

Without weights each row's small random checkpoint is built: their logits lie close together, so
their shares are an upper end, not what trained weights do. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from harness.checkpoints.catalog import CATALOG
from harness.checkpoints.resolve import find_checkpoint
from harness.core.types import DataOptions, Decoding
from harness.families.tiny import build
from harness.models.loading import LoadOptions, load
from tasks import load_task


def answers(model, prompts, size, tokens):
    decoding = Decoding(max_new_tokens=tokens)
    return [
        output.raw
        for start in range(0, len(prompts), size)
        for output in model.generate(model.prepare(prompts[start : start + size]), decoding)
    ]


def share(first, second):
    return sum(a != b for a, b in zip(first, second, strict=True)) / len(first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--weights", nargs="*", default=[])
    arguments = parser.parse_args()
    given = dict(item.split("=", 1) for item in arguments.weights)
    task = load_task("scienceqa")
    samples = task.load(DataOptions(path=arguments.data)).samples[: arguments.limit]
    prompts = [task.prompt(sample, "direct") for sample in samples]
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for spec in CATALOG:
            if spec.name == "moondream-kd" and spec.name not in given:
                continue
            weights = given.get(spec.name) or str(build(spec.name, Path(folder) / spec.name))
            checkpoint = find_checkpoint(spec.name, weights=weights)
            found = {}
            for dtype in ("float32", "bfloat16"):
                model = load(checkpoint, LoadOptions(device=arguments.device, dtype=dtype))
                for size in (1, 8):
                    found[dtype, size] = answers(model, prompts, size, arguments.tokens)
            rows[spec.name] = {
                "float32, batch 8 against 1": share(found["float32", 1], found["float32", 8]),
                "bfloat16 against float32": share(found["float32", 1], found["bfloat16", 1]),
                "bfloat16, batch 8 against 1": share(found["bfloat16", 1], found["bfloat16", 8]),
            }
            print(spec.name, rows[spec.name], flush=True)
    print(json.dumps({"questions": len(prompts), "device": arguments.device, "differing": rows}))


if __name__ == "__main__":
    main()
