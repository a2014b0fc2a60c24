"""Which prompts share a batch, and how they are padded."""

from __future__ import annotations

import torch

from harness.engine.encoded_prompts import EncodedPrompt, collate, pixel_shapes


def prompt(length: int, *size: int) -> EncodedPrompt:
    ids = torch.arange(1, length + 1)[None]
    return EncodedPrompt("", {"input_ids": ids, "pixel_values": torch.ones(1, 3, *size)}, "x")


def test_tokens_are_padded_on_either_side() -> None:
    """On the left for a decoder, on the right for an encoder."""
    prompts = [prompt(2, 4, 4), prompt(3, 4, 4)]
    assert collate(prompts, 9)["input_ids"].tolist() == [[9, 1, 2], [1, 2, 3]]
    assert collate(prompts, 9, left=False)["input_ids"].tolist() == [[1, 2, 9], [1, 2, 3]]


def test_shapes_are_of_what_would_be_padded() -> None:
    """Neither the number of tokens nor that of pictures, which stand one after the other."""
    first, longer, wider = prompt(2, 4, 4), prompt(3, 4, 4), prompt(2, 4, 8)
    assert pixel_shapes(first.inputs) == pixel_shapes(longer.inputs)
    assert pixel_shapes(first.inputs) != pixel_shapes(wider.inputs)
    two = {**first.inputs, "pixel_values": torch.ones(2, 3, 4, 4)}
    assert pixel_shapes(two) == pixel_shapes(first.inputs)
