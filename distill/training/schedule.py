"""When which samples are learned, and at what rate."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from distill.config import DistillConfig


def learning_rate(step: int, steps: int, config: DistillConfig) -> float:
    """The rate of optimizer step `step`, 1 to `steps`.

    With x = step / steps, or (step - 1) / steps where the rate is set after the step, warm-up w,
    floor f and peak p: p (f + (1 - f) x / w) while x < w, then
    p (f + (1 - f) (1 + cos(pi (x - w) / s)) / 2), where s is 1 - w for the full cosine and 1 for
    the one that is cut.
    """
    done = (step if config.rate_set == "before" else step - 1) / steps
    if done < config.warmup:
        share = done / config.warmup
    else:
        span = 1 - config.warmup if config.cosine == "full" else 1.0
        share = (1 + math.cos(math.pi * (done - config.warmup) / span)) / 2
    return config.learning_rate * (config.floor + (1 - config.floor) * share)


def order(lengths: Sequence[int], config: DistillConfig) -> list[list[int]]:
    """The places of the samples of each optimizer step, all epochs one after the other.

    Each epoch has a new order; its last step has what is left. With `bucket` k above 1 the samples
    of k batches are sorted by length, cut into batches, and these are shuffled. The result depends
    on the seed and the lengths alone.

    Args:
        lengths: of the samples' sequences, in tokens.
    """
    size = config.batch_size
    steps = []
    for epoch in range(config.epochs):
        chance = random.Random(f"{config.seed}/{epoch}")  # noqa: S311  # shuffling, not secrecy
        places = list(range(len(lengths)))
        chance.shuffle(places)
        if config.bucket > 1:
            places = _bucketed(places, lengths, config, chance)
        steps += [places[start : start + size] for start in range(0, len(places), size)]
    return steps


def _bucketed(
    places: list[int], lengths: Sequence[int], config: DistillConfig, chance: random.Random
) -> list[int]:
    size = config.batch_size
    whole = len(places) // size * size
    batches, rest = [], sorted(places[whole:], key=lengths.__getitem__)
    for start in range(0, whole, size * config.bucket):
        bucket = sorted(
            places[start : min(start + size * config.bucket, whole)], key=lengths.__getitem__
        )
        batches += [bucket[at : at + size] for at in range(0, len(bucket), size)]
    chance.shuffle(batches)
    return [place for batch in batches for place in batch] + rest
