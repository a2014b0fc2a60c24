"""The shipped minis on their test splits, and without the pictures on validation.

    python benchmarks/minis.py --folder runs/minis
    python benchmarks/minis.py --folder runs/minis --models phi-3.5 --out benchmarks/minis.json

Every shipped checkpoint answers each test split once: what is in --folder already is not asked
again, and of models that --models leaves out the figures of --out stay. The controls ask the choice
questions of the validation split in the same words, with the picture left out (ViLT, which cannot
be asked without one, gets an empty one), and with the picture of another question of the topic. The
last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from harness.core.environment import describe
from harness.core.finish import is_finished
from harness.core.options import GenerationOptions, ModelOptions, RunOptions
from harness.core.types import DataOptions, Decoding, Sample
from harness.metrics.statistics import wilson
from harness.mini.build import MAX_NEW_TOKENS, TASKS
from harness.models.loading import LoadOptions, load
from harness.run.evaluate import evaluate
from harness.run.folder import RunFolder
from harness.run.shuffling import extract_answer
from harness.run.task_data import Data
from harness.sources.weights import Weights
from harness.synthetic.questions import parse_id
from harness.weights import minis as weights
from harness.weights.resolve import resolve_weights
from tasks import load_task

EMPTY = Image.new("RGB", (256, 256), "white")
FIGURES = ("accuracy", "unparsed", "bleu", "rouge1", "rouge2", "rougeL")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/minis"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--models", nargs="+", choices=weights.names(), default=weights.names())
    arguments = parser.parse_args()
    there = arguments.out is not None and arguments.out.exists()
    found: dict[str, Any] = json.loads(arguments.out.read_text())["models"] if there else {}
    found |= {name: measure(name, arguments.folder) for name in arguments.models}
    report = {
        "what": "mini (synthetic)",
        "models": found,
        "machine": describe("cpu"),
        "date": time.strftime("%Y-%m-%d"),
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Figure -> value, low, high and n."""
    options = ModelOptions(model=name, size="mini", device="cpu", dtype="float32")
    figures: dict[str, Any] = {}
    for task in TASKS:
        data = Data(load_task(task), DataOptions(split="test"))
        run = evaluate(
            Weights(options),
            data,
            RunOptions(
                runs=folder,
                batch_size=64,
                generation=GenerationOptions(max_new_tokens=MAX_NEW_TOKENS),
            ),
        )
        for figure in FIGURES:
            value = run.record.metrics.get(figure)
            if value and value.value is not None:
                figures[f"{task} {figure}"] = (value.value, value.low, value.high, value.n)
        if task == TASKS[0]:
            for words, several in (("one step", False), ("several steps", True)):
                right = [
                    bool(p.correct)
                    for p in RunFolder(run.folder).read_predictions()
                    if (known := parse_id(p.sample_id)) and (known.steps > 1) == several
                ]
                low, high = wilson(sum(right), len(right))
                figures[f"{task} {words}"] = (sum(right) / len(right), low, high, len(right))
    return figures | controls(name)


def controls(name: str) -> dict[str, tuple[float, float | None, float | None, int]]:
    task = load_task(TASKS[0])
    samples = task.load(DataOptions(split="validation")).samples
    checkpoint = resolve_weights(name, size="mini")
    model: Any = load(checkpoint, LoadOptions(device="cpu", dtype="float32"))
    style = checkpoint.style
    none = (EMPTY,) if name == "vilt" else ()
    figures = {}
    for label, images in (
        ("without pictures", [none] * len(samples)),
        (
            "with another's picture",
            [task.prompt(_another(samples, i), style).images for i in range(len(samples))],
        ),
    ):
        prompts = [
            replace(task.prompt(sample, style), images=pictures)
            for sample, pictures in zip(samples, images, strict=True)
        ]
        outputs = model.generate(model.prepare(prompts), Decoding(max_new_tokens=MAX_NEW_TOKENS))
        answers = [
            extract_answer(
                task.extract, output.raw, sample.choices, finished=is_finished(output.finish)
            ).answer
            for output, sample in zip(outputs, samples, strict=True)
        ]
        right = sum(a == sample.target for a, sample in zip(answers, samples, strict=True))
        low, high = wilson(right, len(samples))
        figures[f"{label}, validation"] = (right / len(samples), low, high, len(samples))
        unparsed = answers.count(None) / len(samples)
        figures[f"{label}, unparsed, validation"] = (unparsed, None, None, len(samples))
    return figures


def _another(samples: Sequence[Sample], place: int) -> Sample:
    """The next one of the same topic."""
    topic = samples[place].topic
    return next(s for s in (*samples[place + 1 :], *samples[:place]) if s.topic == topic)


if __name__ == "__main__":
    main()
