"""What transformers' `generate` calls at every step: stop texts, logits that are not finite, and
forced tokens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria


class StopText(StoppingCriteria):
    """Ends each row as soon as it contains the text that ends an answer."""

    def __init__(
        self,
        reached: Callable[[Sequence[int]], bool],
        prompt_length: int,
        ended: dict[int, int],
    ) -> None:
        self._reached = reached
        self._prompt_length = prompt_length
        self._ended = ended
        """Row -> tokens that it had generated when it ended."""

    def __call__(
        self, input_ids: torch.LongTensor, scores: torch.Tensor, **_: Any
    ) -> torch.BoolTensor:
        """(B, prompt + new) -> (B,)."""
        del scores
        generated = input_ids[:, self._prompt_length :].tolist()
        done = [self._reached(tokens) for tokens in generated]
        for row, stopped in enumerate(done):
            if stopped:
                self._ended.setdefault(row, len(generated[row]))
        flags = torch.tensor(done, device=input_ids.device)
        return flags  # type: ignore[return-value]  # a BoolTensor by its dtype


class FiniteSteps(LogitsProcessor):
    """Counts the steps of each row until its logits are not all finite, and ends the row there.
    Sampling from such logits would fail for the whole batch."""

    def __init__(self, end_tokens: Collection[int]) -> None:
        self._end = min(end_tokens)
        self._alive: torch.Tensor | None = None  # (B,) of bool
        self._steps: torch.Tensor | None = None  # (B,)

    @property
    def steps(self) -> list[int]:
        """Of each row; waits for the device."""
        return [] if self._steps is None else self._steps.tolist()

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """(B, V) -> (B, V), a row that is not finite as one that ends."""
        del input_ids
        finite = scores.isfinite().all(dim=-1)
        self._alive = finite if self._alive is None else self._alive & finite
        taken = self._alive.long()
        self._steps = taken if self._steps is None else self._steps + taken
        ended = torch.full_like(scores, -torch.inf)
        ended[:, self._end] = 0.0
        return torch.where(finite[:, None], scores, ended)  # type: ignore[return-value]  # a FloatTensor by its dtype


class ForcedTokens(LogitsProcessor):
    """Makes `generate` choose given tokens, (B, n), so that it returns their logits."""

    def __init__(self, tokens: torch.Tensor) -> None:
        self._tokens = iter(tokens.T)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """(B, V) -> (B, V), all but the next token at minus infinity."""
        del input_ids
        forced = torch.full_like(scores, -torch.inf)
        forced.scatter_(1, next(self._tokens)[:, None], 0.0)
        return forced  # type: ignore[return-value]  # a FloatTensor by its dtype
