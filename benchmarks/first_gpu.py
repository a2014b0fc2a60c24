"""What a first quarter of an hour on a GPU should show, in steps that cannot spoil each other.

    benchmarks/first_gpu.sh

Each step is a process of its own with a limit of its own: an error of CUDA ends it alone, and one
that hangs is killed. The limits add up to less than ten minutes. The last line is one JSON document
with the seconds, and the result or the error, of each step.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import distill_step

from distill.config import PRESETS
from harness.api import evaluate
from harness.core import environment, timing
from harness.core.files.atomic import write_atomically
from harness.core.options import ModelOptions
from harness.core.types import Decoding
from harness.run import bench
from harness.sources.weights import Weights
from harness.weights.resolve import resolve_weights
from reports import projection

MODELS = ("moondream", "phi-3.5")
"""Those that are measured at full size."""
TABLE_1_MINUTES = {
    "llava-cot": 5.0,
    "llava-next": 3.7,
    "phi-3.5": 2.2,
    "moondream-kd": 1.3,
    "moondream": 0.6,
    "kosmos-2": 0.4,
    "vilt": 0.3,
}
"""Estimates for an H200, as in docs/reproduce.md: what is not measured is scaled by what is."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where and at which sizes the steps run."""

    device: str
    tiny: bool

    @property
    def size(self) -> str:
        return "tiny" if self.tiny else "full"


def versions(settings: Settings) -> dict[str, Any]:
    """Software, driver and device, and the device's memory."""
    found = environment.describe(settings.device)
    if settings.device.startswith("cuda"):
        import torch

        found["memory_bytes"] = torch.cuda.mem_get_info(settings.device)[1]
        found["bfloat16"] = torch.cuda.is_bf16_supported(including_emulation=False)
    return found


def evaluation(settings: Settings) -> dict[str, Any]:
    """One evaluation of a mini with 8 workers that prepare ahead: its accuracy is known."""
    number = 6 if settings.tiny else 1050
    run = evaluate(
        "moondream",
        "scienceqa-mini",
        size="mini",
        limit=number,
        workers=8,
        device=settings.device,
        runs=Path.cwd() / "runs",
    )
    record = run.record
    return {
        "questions": number,
        "accuracy": record.metrics["accuracy"].value,
        "failed": record.counts.failed,
        "timing": record.timing,
    }


def growing(settings: Settings) -> dict[str, Any]:
    """Prompts that grow, in the first engine of a process: its KV cache grows with them, and every
    graph is captured again. In float32 the answers are those of each prompt alone."""
    model: Any = Weights(
        ModelOptions(model="moondream", size="mini", device=settings.device, dtype="float32")
    ).load()
    tokens = Decoding(max_new_tokens=4 if settings.tiny else 48)
    words = [4, 40, 90] if settings.tiny else [4, 20, 60, 120, 200, 300, 400, 500]
    prompts = [model.prepare(bench.draw(1, count)) for count in words]
    started = time.perf_counter()
    stream = model.stream(iter(enumerate(prompts)), tokens, slots=2)
    together = {one.number: one.output.raw for one in stream}
    seconds = time.perf_counter() - started
    alone = {n: model.generate(prompt, tokens)[0].raw for n, prompt in enumerate(prompts)}
    return {"words": words, "seconds": seconds, "same_as_alone": together == alone}


def speed(settings: Settings) -> dict[str, Any]:
    """Reading and decoding at full size with random weights, beside what the device can do."""
    options = [
        ModelOptions(model=name, weights="random", size=settings.size, device=settings.device)
        for name in MODELS
    ]
    batches, new = ((1, 2), 4) if settings.tiny else ((1, 64), 64)
    loads = [bench.Load(batch=rows, words=16, new_tokens=new) for rows in batches]
    return bench.measure([(one.model, Weights(one)) for one in options], loads)


def training(settings: Settings) -> dict[str, Any]:
    """Optimizer steps as in Table 3 of the paper."""
    base = resolve_weights("moondream", weights="random", size=settings.size).folder
    config = PRESETS["paper"]
    if settings.tiny:
        config = PRESETS["miniature"].with_objective("answer", batch_size=2, optimizer="adam")
    steps, words = (1, 40) if settings.tiny else (3, 300)
    return distill_step.measure(base, config, steps=steps, words=words, device=settings.device)


def memory(settings: Settings) -> dict[str, Any]:
    """How many rows `--batch-size auto` takes, and what they take when all of them answer."""
    found = {}
    for name in MODELS:
        source = Weights(
            ModelOptions(model=name, weights="random", size=settings.size, device=settings.device)
        )
        model: Any = source.load()
        decoding = Decoding(max_new_tokens=16 if settings.tiny else 500)
        slots = model.slots_that_fit(model.prepare(bench.draw(1, 64)), decoding)
        timing.reset_peak_device_memory(settings.device)
        shown = min(slots, 2) if settings.tiny else slots
        few = Decoding(max_new_tokens=2 if settings.tiny else 16)
        answered = model.generate(model.prepare(bench.draw(shown, 64)), few)
        found[name] = {
            "rows": slots,
            "answered": sum(not output.error for output in answered),
            "error": next((output.error for output in answered if output.error), None),
            "peak_bytes": timing.peak_memory(settings.device),
        }
        del model, source, answered
    return found


STEPS: dict[str, tuple[Callable[[Settings], dict[str, Any]], int]] = {
    "versions": (versions, 20),
    "evaluation": (evaluation, 80),
    "growing": (growing, 60),
    "speed": (speed, 240),
    "training": (training, 110),
    "memory": (memory, 80),
}
"""Step -> what it does, and the seconds that it may take."""


def run_step(name: str, settings: Settings) -> dict[str, Any]:
    """The seconds of a step, and its result or error."""
    work, limit = STEPS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        # Forked: what is imported is imported once. This process never opens the device.
        process = multiprocessing.get_context("fork").Process(
            target=_child, args=(work, settings, path)
        )
        started = time.perf_counter()
        process.start()
        process.join(limit)
        seconds = round(time.perf_counter() - started, 2)
        if process.is_alive():
            process.kill()
            process.join()
            return {"seconds": seconds, "error": f"more than {limit} s"}
        if path.exists():
            return {"seconds": seconds, **json.loads(path.read_text(encoding="utf-8"))}
        return {"seconds": seconds, "error": f"the process ended with {process.exitcode}"}


def _child(work: Callable[[Settings], dict[str, Any]], settings: Settings, path: Path) -> None:
    """Do one step in a folder of its own, and leave its result at `path`."""
    with contextlib.chdir(path.parent):
        try:
            found: dict[str, Any] = {"result": work(settings)}
        except Exception as error:  # noqa: BLE001  # it is part of the document
            traceback.print_exc()
            found = {"error": f"{type(error).__name__}: {error}"[:1000]}
        write_atomically(path, json.dumps(found, default=str).encode())


def table_1(speed_step: dict[str, Any]) -> dict[str, Any] | None:
    """Minutes of Table 1's rows: projected for those that were measured, scaled for all of them."""
    if "result" not in speed_step:
        return None
    rows = projection.projected(speed_step["result"]["figures"])
    minutes = {
        row["model"]: row["projected_minutes"]
        for row in rows
        if row["table"] == 1 and row["projected_minutes"] is not None
    }
    if not minutes:
        return None
    factor = sum(minutes.values()) / sum(TABLE_1_MINUTES[name] for name in minutes)
    return {
        "projected_minutes": minutes,
        "all_rows_minutes": factor * sum(TABLE_1_MINUTES.values()),
        "how": projection.PROJECTION + " All rows: the estimates of docs/reproduce.md, times what "
        "the measured rows take of theirs.",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="as torch names it")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to try the script")
    parser.add_argument(
        "--step", action="append", choices=list(STEPS), help="only this; repeatable"
    )
    parser.add_argument("--out", type=Path, help="file for the document, in addition")
    options = parser.parse_args()
    settings = Settings(options.device, options.tiny)
    started = time.perf_counter()
    steps: dict[str, dict[str, Any]] = {}
    for name in options.step or STEPS:
        print(f"{name} ...", flush=True)
        steps[name] = run_step(name, settings)
        print(
            f"{name}: {steps[name]['seconds']:.0f} s, {steps[name].get('error', 'done')}",
            flush=True,
        )
    document = {
        "device": settings.device,
        "size": settings.size,
        "seconds": round(time.perf_counter() - started, 1),
        "steps": steps,
        "table_1": table_1(steps["speed"]) if "speed" in steps else None,
    }
    text = json.dumps(document)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    sys.exit(any("error" in step for step in steps.values()))


if __name__ == "__main__":
    main()
