"""Try a model out: load it, let it answer two questions, alone and in a batch of four."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from string import ascii_uppercase
from typing import Any

from PIL import Image

from harness.checkpoints.catalog import find
from harness.cli.asking import outputs
from harness.cli.picture_tokens import picture_tokens
from harness.core import timing
from harness.core.abilities import BoundedModel, TemplatedModel
from harness.core.errors import Exit, HarnessError, reason
from harness.core.options import ModelOptions
from harness.core.types import Decoding, Model, Output, Prompt, Sample
from harness.families.engine_traits import CrossAttention
from harness.families.tested import is_tested
from harness.sources.source import Source
from harness.synthetic.questions import questions
from tasks import load_task

TOKENS = 64
"""How many tokens a model may write."""
PICTURE = (1024, 768)
"""Pixels of the picture whose tokens are counted."""


def before_loading(source: Source) -> str:
    """What is known of a model before its classes are imported, which takes seconds, in a line. A
    server's is not loaded here."""
    checkpoint = source.checkpoint
    parts = [checkpoint.weights, checkpoint.size]
    if checkpoint.model_type:
        tested = is_tested(checkpoint.model_type)
        parts.append(f"{checkpoint.model_type}, {'tested' if tested else 'not tested'}")
    if source.capabilities.in_process:
        parts.append(f"{source.settings.get('dtype') or 'as loaded'} on {source.device}")
    known = f"{checkpoint.title}: {'; '.join(filter(None, parts))}."
    return f"{known} Loading ..." if source.capabilities.in_process else known


def try_out(source: Source) -> dict[str, Any]:
    """Load a model and let it answer two synthetic questions, alone and in a batch of four.

    Raises:
        HarnessError: the model fails, or in float32 an answer depends on the batch (exit 5).
    """
    model: Model = source.load()
    prompts = _prompts()
    decoding = Decoding(max_new_tokens=TOKENS)
    outputs(source, prompts[:1], Decoding(max_new_tokens=2))  # warm up
    single, alone = _timed(source, [[p] for p in prompts], decoding)
    batched, together = _timed(source, [prompts * 2], decoding)
    same = [output.raw for output in batched[:2]] == [output.raw for output in single]
    scores, why_not = _log_likelihoods(source, model, prompts)
    model_type = source.checkpoint.model_type
    report = {
        "model": source.checkpoint.name,
        "model_type": model_type or None,
        "tested": is_tested(model_type) if model_type else None,
        "weights": source.checkpoint.weights,
        "engine": "own" if source.family.own_model else source.settings["engine"],
        **model.description,
        "batches": _batches(source, model),
        "log_likelihoods": scores,
        "no_log_likelihoods": why_not,
        "template": _template(source, model),
        "picture_tokens": _picture_tokens(source, model),
        "cross_attention": isinstance(source.family.engine, CrossAttention),
        "load_seconds": source.load_seconds,
        "tokens_per_second": {"batch 1": alone, "batch 4": together},
        "peak_memory_bytes": timing.peak_memory(source.device)
        if source.capabilities.measures_memory
        else None,
        "same_answers_in_a_batch": same,
        "answers": [output.raw for output in single],
    }
    if not same and model.description["dtype"] == "float32":
        raise HarnessError(
            f"{source.checkpoint.name} answers differently in a batch than alone.",
            known=f"Alone: {single[0].raw[:80]!r}. In a batch: {batched[0].raw[:80]!r}.",
            remedy="Run it with --batch-size 1.",
            code=Exit.CHECK_FAILED,
        )
    return report


def _prompts() -> list[Prompt]:
    """Two synthetic questions with a picture."""
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
    return prompts


def _batches(source: Source, model: Model) -> str:
    """Which prompts share a batch."""
    if not source.capabilities.batches:
        return "none: one question at a time"
    return str(model.description.get("batches", "any prompts"))


def _template(source: Source, model: Model) -> str:
    """Whose template words a prompt."""
    if isinstance(model, TemplatedModel):
        return model.template_origin
    return "its own words" if source.family.own_model else f"that of {source.place}"


def _log_likelihoods(source: Source, model: Model, prompts: Sequence[Prompt]) -> tuple[bool, str]:
    """Whether it scores options, as --mode loglikelihood needs it; and why not."""
    if not source.capabilities.log_likelihoods:
        return False, f"{source.place} does not give them"
    options = [tuple(ascii_uppercase[: len(prompt.choices)]) for prompt in prompts]
    try:
        made = model.choose(model.prepare(prompts), options)
    except Exception as error:  # noqa: BLE001  # whatever a broken model does is no fault of the harness
        return False, reason(error)
    why_not = next((output.error for output in made if output.error), "")
    return not why_not, why_not


def _picture_tokens(source: Source, model: Model) -> int | None:
    """Tokens that a picture of `PICTURE` pixels adds to a prompt; None: nobody counts them."""
    bare = Prompt(text="What is it?", question="What is it?")
    pictured = replace(bare, images=(Image.new("RGB", PICTURE),))
    try:
        if isinstance(model, BoundedModel):
            return picture_tokens(model, pictured)
        with_, without = outputs(source, [pictured, bare], Decoding(max_new_tokens=1))
    except Exception:  # noqa: BLE001  # a model that takes no question without a picture, say
        return None
    if with_.tokens_in is None or without.tokens_in is None:
        return None
    return with_.tokens_in - without.tokens_in


def _timed(
    source: Source, batches: Sequence[Sequence[Prompt]], decoding: Decoding
) -> tuple[list[Output], float | None]:
    """Generate all batches; returns the outputs and tokens per second, None where a server does not
    count them."""
    started = time.perf_counter()
    answers = [output for batch in batches for output in outputs(source, batch, decoding)]
    seconds = time.perf_counter() - started
    made = [output.tokens for output in answers if output.tokens is not None]
    return answers, sum(made) / seconds if len(made) == len(answers) else None


def download(options: ModelOptions) -> Mapping[str, Any] | None:
    """The download that a model of the catalogue needs; None for other models, for weights that are
    given, and for a mini, which comes with the package."""
    spec = find(options.model)
    if options.weights or options.size == "mini" or spec is None or spec.repo is None:
        return None
    return {"repo": spec.repo, "revision": spec.revision, "gigabytes": spec.gigabytes}
