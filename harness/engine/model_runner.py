"""What the engine needs of a model."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import torch
from transformers import Cache

from harness.engine.encoded_prompts import EncodedPrompt
from harness.engine.kv_cache import SlotCache


class Prefilled(NamedTuple):
    """What running prompts gives, a row for each prompt."""

    logits: torch.Tensor
    """After each prompt's last token, (B, V)."""
    cache: Cache
    """Keys and values of all prompt tokens, padded on the left."""
    step_inputs: Mapping[str, torch.Tensor]
    """What every decode step needs again, such as the last token's cross-attention mask."""


class ModelRunner(Protocol):
    """A model's vision encoder, its prefill and its decode step."""

    device: torch.device
    cross_attention_layers: Collection[int]
    """Layers whose keys are those of the images: made by the prefill, never extended."""
    rope_switch_length: int | None
    """A request that grows beyond so many tokens is prefilled again, because its rotary angles
    change; None: they never do."""

    def batch_key(self, prompt: EncodedPrompt) -> Hashable:
        """Prompts with different keys cannot be in one batch."""

    def pixels(self, prompt: EncodedPrompt) -> int:
        """How many pixels the vision encoder gets for a prompt, over all tiles of its images."""

    def encode_images(self, prompts: Sequence[EncodedPrompt]) -> list[torch.Tensor]:
        """The image features of each prompt; every prompt has an image."""

    def prefill(
        self, prompts: Sequence[EncodedPrompt], features: Sequence[torch.Tensor | None]
    ) -> Prefilled:
        """Run prompts with their image features; None for a prompt without an image."""

    def reading_own_lengths(self) -> AbstractContextManager[None]:
        """While it lasts, the attention of decode steps reads each slot's own tokens, and
        `kv_length` is the capacity; for a runner whose attention can."""

    def decode_step(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        valid: torch.Tensor,
        cache: SlotCache,
    ) -> torch.Tensor:
        """One token more in each slot: (B,), (B,) and (B, kv_length) of bool -> logits (B, V)."""
