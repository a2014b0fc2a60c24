"""Prefill: run the prompts of several requests in one pass, and fill their slots."""

from __future__ import annotations

from collections.abc import Sequence

from harness.engine.decode_step import DecodeStep
from harness.engine.model_runner import ModelRunner
from harness.engine.scheduling import Request
from harness.engine.vision_passes import VisionPasses


def prefill(
    requests: Sequence[Request],
    slots: range,
    *,
    runner: ModelRunner,
    vision: VisionPasses,
    upcoming: Sequence[Request],
    step: DecodeStep,
    capacity: int,
) -> list[int]:
    """Run the requests' prompts and put their keys and values into `slots`; returns the first token
    of each request.

    Args:
        upcoming: the requests that come next, whose images may be encoded in the same pass.
        step: is given each slot's first token and position.
        capacity: tokens that each slot has memory for, at least.
    """
    prompts = [request.prefill_input for request in requests]
    features = vision.of(prompts, [request.prompt for request in upcoming])
    found = runner.prefill(prompts, features)
    lengths = [prompt.length for prompt in prompts]
    first: list[int] = step.insert(slots, found, lengths, capacity=capacity).tolist()
    for request, length in zip(requests, lengths, strict=True):
        request.cached = length
    return first
