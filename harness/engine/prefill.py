"""Prefill: run the prompts of several requests in one pass, and fill their slots."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from harness.engine.decode_step import DecodeStep, greedy_tokens
from harness.engine.image_features import ImageFeatureCache
from harness.engine.kv_cache import SlotCache
from harness.engine.model_runner import ModelRunner
from harness.engine.scheduling import Request

MAX_PREFILL_TOKENS = 8192
"""Prompt tokens of one pass: more would need memory and gain nothing."""


def prefill(
    requests: Sequence[Request],
    slots: range,
    *,
    runner: ModelRunner,
    features: ImageFeatureCache,
    cache: SlotCache,
    step: DecodeStep,
    capacity: int,
) -> list[int]:
    """Run the requests' prompts and put their keys and values into `slots`; returns the first token
    of each request.

    Args:
        step: is given each slot's first token and position.
        capacity: tokens that each slot has memory for, at least.
    """
    prompts = [request.prefill_input for request in requests]
    found = runner.prefill(prompts, features.of(prompts, runner.encode_images))
    lengths = [prompt.length for prompt in prompts]
    cache.reserve(capacity)
    cache.insert(slots, found.cache, lengths, found.step_inputs)
    tokens = greedy_tokens(found.logits)
    step.tokens[slots.start : slots.stop] = tokens
    step.positions[slots.start : slots.stop] = torch.tensor(lengths)
    first: list[int] = tokens.tolist()
    for request, length in zip(requests, lengths, strict=True):
        request.cached = length
    return first
