"""The training loop of the distillation next to TRL's SFTTrainer: the same model, examples, order,
optimizer and seed, so that both should have one loss curve; and their speed in one run.

    pip install trl==1.16.0
    python benchmarks/trl.py

TRL is no dependency of the project: install it into an environment of its own. The model is
LLaVA-NeXT in miniature with random weights, trained in float32 but for its vision encoder and
projector; the questions are synthetic, with a template's rationale. TRL is given the tokens, labels
and pixels that the project makes, through `skip_prepare_dataset` and a collator, and the optimizer
and the learning rates; forward pass, loss, gradients and steps are its own.

Speed: tokens of the sequences, padding left out, in a second of the optimizer steps, the first two
left out; rounds take turns. The project computes the features of a picture once and keeps them,
which TRL does not; "no kept features" encodes them in each step too. The last line is one JSON
document.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

import harness.models  # noqa: F401  # makes the project's own classes known to the auto classes
from distill.config import DistillConfig, preset
from distill.examples import Example
from distill.training.batches import joined_padded, one_by_one
from distill.training.schedule import learning_rate, order
from distill.training.state import optimizer_settings
from distill.training.student import Student
from distill.training.tokens import IGNORED, Row
from distill.training.train import train
from harness.core import environment
from harness.core.structured import Rationale
from harness.core.types import DataOptions
from harness.engine.encoded_prompts import EncodedPrompt, concatenate_padded
from harness.families.tiny import build
from tasks import load_task

TOLERANCE = 1e-5
"""The largest difference of a step's loss, in nats per token, that passes for none in float32."""
_SKIPPED = 2
"""Steps in which memory is allocated and kernels are chosen."""


def examples_of(number: int) -> list[Example]:
    """Synthetic questions, each with a rationale."""
    samples = load_task("scienceqa-mini").load(DataOptions(split="train")).samples[:number]
    return [Example(s, Rationale(s.question, "A picture.", s.solution, "A")) for s in samples]


def ours(
    examples: Sequence[Example], base: Path, config: DistillConfig, folder: Path
) -> list[dict[str, Any]]:
    """The log of the project's training: a line for each step."""
    train(examples, base=base, out=folder, config=config)
    lines = (folder / "training_log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def collate(
    rows: Sequence[Row], prompts: Sequence[EncodedPrompt], pad: int
) -> dict[str, torch.Tensor]:
    """A batch as transformers takes it."""
    groups = one_by_one([len(row.ids) for row in rows])
    batch = {
        "input_ids": joined_padded([row.ids for row in rows], groups, pad),
        "labels": joined_padded([row.labels for row in rows], groups, IGNORED),
        "attention_mask": joined_padded([[1] * len(row.ids) for row in rows], groups, 0),
    }
    for name in ("pixel_values", "image_sizes"):
        batch[name] = concatenate_padded([prompt.inputs[name] for prompt in prompts])
    return batch


def model_of(base: Path, trained: Collection[str]) -> torch.nn.Module:
    """The model as transformers loads it; all but its parameters of these names are frozen."""
    from transformers import AutoModelForImageTextToText

    model: torch.nn.Module = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    return model


def optimizer_of(
    model: torch.nn.Module, config: DistillConfig, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The project's optimizer and learning rates."""
    optimizer = torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad],
        **optimizer_settings(config, device="cpu"),
    )
    rates = [learning_rate(n, steps, config) for n in range(1, steps + 1)]
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: rates[min(n, len(rates) - 1)] / config.learning_rate
    )
    return optimizer, schedule


def arguments_of(config: DistillConfig, out: Path) -> Any:
    """TRL's arguments for the same training: one pass over data in our order, nothing saved."""
    from trl import SFTConfig  # type: ignore[import-not-found]  # no dependency

    return SFTConfig(
        output_dir=str(out),
        per_device_train_batch_size=config.batch_size,
        num_train_epochs=1,  # the epochs follow each other in the data
        max_grad_norm=0.0,
        seed=config.seed,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


def theirs(
    examples: Sequence[Example], base: Path, config: DistillConfig, folder: Path
) -> list[dict[str, Any]]:
    """Loss, tokens and seconds of each step of TRL's trainer."""
    from datasets import Dataset
    from transformers import AutoProcessor
    from trl import SFTTrainer  # type: ignore[import-not-found]  # no dependency

    task = load_task("scienceqa-mini")
    student = Student(base, config, task, features=folder / "features")
    rows = [student.rows(example)[0] for example in examples]
    prompts = [student.rows.with_pixels(example.sample) for example in examples]
    steps = order([len(row.ids) for row in rows], config)
    trained = {n for n, p in student.network.model.named_parameters() if p.requires_grad}
    model = model_of(base, trained)
    processor = AutoProcessor.from_pretrained(base)
    log: list[dict[str, Any]] = []

    class Sequential(SFTTrainer):  # type: ignore[misc]
        """In the order of the data; each loss and each step's time are kept."""

        def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

        def training_step(self, *given: Any, **named: Any) -> Any:
            started = time.perf_counter()
            loss = super().training_step(*given, **named)
            log.append({"loss": float(loss), "started": started})
            return loss

    def collated(items: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        chosen = [item["place"] for item in items]
        pad = processor.tokenizer.eos_token_id
        return collate([rows[n] for n in chosen], [prompts[n] for n in chosen], pad)

    trainer = Sequential(
        model=model,
        processing_class=processor,
        data_collator=collated,
        train_dataset=Dataset.from_list(
            [{"place": n, "labels": [0]} for step in steps for n in step]
        ),
        optimizers=optimizer_of(model, config, len(steps)),
        args=arguments_of(config, folder / "trl"),
    )
    trainer.train()
    ends = [*(line["started"] for line in log[1:]), time.perf_counter()]
    return [
        {
            "loss": line["loss"],
            "tokens": sum(len(rows[place].ids) for place in step),
            "seconds": end - line["started"],
        }
        for line, step, end in zip(log, steps, ends, strict=True)
    ]


def speed(log: Sequence[dict[str, Any]]) -> float:
    """Tokens a second; the last step is left out too, whose end is that of the whole training."""
    kept = log[_SKIPPED:-1]
    return sum(line["tokens"] for line in kept) / sum(line["seconds"] for line in kept)


def main() -> None:
    """Train in both ways by turns, and compare."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != here]  # it has a trl too
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    config = preset(
        "paper", precision="float32", learning_rate=1e-3, batch_size=8, epochs=given.epochs
    )
    examples = examples_of(given.examples)
    ways = {
        "harness": (ours, config),
        "harness, no kept features": (ours, replace(config, feature_cache_gb=0.0)),
        "TRL": (theirs, config),
    }
    logs: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as made:
        base = build("llava-next", Path(made) / "base", size="mini")
        for number in range(given.rounds):
            for name, (way, settings) in ways.items():
                folder = Path(made) / f"{name}-{number}"
                folder.mkdir()
                logs[name].append(way(examples, base, settings, folder))
    curve = [line["loss"] for line in logs["harness"][0]]
    apart = {
        name: max(
            abs(line["loss"] - loss) for log in found for line, loss in zip(log, curve, strict=True)
        )
        for name, found in logs.items()
    }
    import trl

    print(
        json.dumps(
            {
                "benchmark": "trl",
                "trl": trl.__version__,
                "steps": len(curve),
                "first_loss": curve[0],
                "last_loss": curve[-1],
                "largest_difference": apart,
                "tolerance": TOLERANCE,
                "equal": all(each <= TOLERANCE for each in apart.values()),
                "tokens_per_second": {n: median(map(speed, found)) for n, found in logs.items()},
                "rounds": given.rounds,
                "environment": environment.describe("cpu"),
            }
        )
    )


if __name__ == "__main__":
    main()
