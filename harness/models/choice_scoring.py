"""Scores of options: the mean log-likelihood of each option's tokens after its prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from string import ascii_uppercase
from typing import Any

import torch

from harness.core.errors import NOT_FINITE
from harness.core.types import Output
from harness.engine.encoded_prompts import EncodedPrompt, per_token


def flat_options(
    options: Sequence[Sequence[Sequence[int]]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Every option as a row of its own: the index of its prompt, (N,), and its tokens, padded with
    the last one, (N, longest)."""
    owner = [index for index, each in enumerate(options) for _ in each]
    flat = [list(option) for each in options for option in each]
    longest = max(map(len, flat))
    padded = [option + option[-1:] * (longest - len(option)) for option in flat]
    return torch.tensor(owner, device=device), torch.tensor(padded, device=device)


def mean_log_likelihoods(
    logits: torch.Tensor, options: Sequence[Sequence[Sequence[int]]]
) -> list[list[float]]:
    """The mean log-likelihood of each option's own tokens; `logits` is (N, longest, V)."""
    _, padded = flat_options(options, logits.device)
    found = logits.float().log_softmax(dim=-1)
    scores = iter(found.gather(2, padded[:, :, None]).squeeze(2).tolist())
    return [[sum(next(scores)[: len(option)]) / len(option) for option in each] for each in options]


def best_option(prompt: EncodedPrompt, scores: Sequence[float]) -> Output:
    """The letter of the option with the highest score, the first of equals."""
    if not all(map(isfinite, scores)):
        return Output("", prompt.text, None, None, error=NOT_FINITE)
    return Output(
        raw=ascii_uppercase[scores.index(max(scores))],
        prompt=prompt.text,
        tokens_in=prompt.length,
        tokens=0,
        log_likelihoods=tuple(scores),
    )


def append_token(
    inputs: Mapping[str, torch.Tensor], owner: torch.Tensor, tokens: torch.Tensor
) -> dict[str, Any]:
    """The inputs of the prompts `owner`, (N,), each followed by one token of `tokens`, (N, 1).

    What has a column for each token of the prompt is repeated into the new column; pixels are left
    out, because the images' keys are in the KV cache.
    """
    made: dict[str, Any] = {}
    for name in per_token(inputs):
        rows = inputs[name][owner]
        made[name] = torch.cat([rows, rows[:, -1:]], dim=1)
    made["input_ids"][:, -1:] = tokens
    return made
