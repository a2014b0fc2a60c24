"""Try a model out: load it, let it answer two questions, alone and in a batch of four."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from harness.checkpoints.catalog import find
from harness.cli.asking import outputs
from harness.core import timing
from harness.core.errors import Exit, HarnessError
from harness.core.types import Decoding, Model, Output, Prompt, Sample
from harness.sources.source import Source
from harness.synthetic.questions import questions
from tasks import load_task

TOKENS = 64
"""How many tokens a model may write."""


def try_out(weights: Source) -> dict[str, Any]:
    """Load a model and let it answer two synthetic questions, alone and in a batch of four.

    Raises:
        HarnessError: the model fails, or in float32 an answer depends on the batch (exit 5).
    """
    model: Model = weights.load()
    task = load_task("scienceqa")
    prompts = []
    for item in questions("test", count=2):
        sample = Sample(id=item.id, question=item.question, target=0, choices=item.choices)
        prompts.append(
            Prompt(
                text=task.prompt(sample, "direct").text,
                question=item.question,
                choices=sample.choices,
                images=(item.draw(),),
            )
        )
    decoding = Decoding(max_new_tokens=TOKENS)
    outputs(weights, prompts[:1], Decoding(max_new_tokens=2))  # warm up
    single, alone = _timed(weights, [[p] for p in prompts], decoding)
    batched, together = _timed(weights, [prompts * 2], decoding)
    same = [output.raw for output in batched[:2]] == [output.raw for output in single]
    report = {
        "model": weights.checkpoint.name,
        "weights": weights.checkpoint.weights,
        **model.description,
        "load_seconds": weights.load_seconds,
        "tokens_per_second": {"batch 1": alone, "batch 4": together},
        "peak_memory_bytes": timing.peak_memory(weights.device)
        if weights.capabilities.measures_memory
        else None,
        "same_answers_in_a_batch": same,
        "answers": [output.raw for output in single],
    }
    if not same and model.description["dtype"] == "float32":
        raise HarnessError(
            f"{weights.checkpoint.name} answers differently in a batch than alone.",
            known=f"Alone: {single[0].raw[:80]!r}. In a batch: {batched[0].raw[:80]!r}.",
            remedy="Run it with --batch-size 1.",
            code=Exit.CHECK_FAILED,
        )
    return report


def _timed(
    weights: Source, batches: Sequence[Sequence[Prompt]], decoding: Decoding
) -> tuple[list[Output], float | None]:
    """Generate all batches; returns the outputs and tokens per second, None where a server does not
    count them."""
    started = time.perf_counter()
    answers = [output for batch in batches for output in outputs(weights, batch, decoding)]
    seconds = time.perf_counter() - started
    made = [output.tokens for output in answers if output.tokens is not None]
    return answers, sum(made) / seconds if len(made) == len(answers) else None


def download(model: str) -> Mapping[str, Any] | None:
    """The download that a model of the catalogue needs; None for other models."""
    spec = find(model)
    if spec is None or spec.repo is None:
        return None
    return {"repo": spec.repo, "revision": spec.revision, "gigabytes": spec.gigabytes}
