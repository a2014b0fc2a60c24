"""Attention of a decode step that reads each slot's own tokens, and none beyond them.

With a mask, attention reads as many keys of every slot as the longest one has. FlexAttention takes
the blocks of each slot's own, and is a kernel of its own once it is compiled; a prefill, and
cross-attention, go on with torch's scaled dot product.
"""

# transformers is typed in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.utils import output_capturing

NAME = "slot_attention"
BLOCK = 128
"""Keys that are read together."""


def slot_mask(positions: torch.Tensor, columns: int, window: int | None) -> BlockMask:
    """The blocks that hold each slot's tokens, up to and with the one at its position, (B,).

    Args:
        columns: tokens that each slot has memory for.
        window: tokens back that are attended to; None: all.
    """
    blocks = -(-columns // BLOCK)
    indices = torch.arange(blocks, device=positions.device, dtype=torch.int32)

    def own(slot: Any, _head: Any, _query: Any, column: Any) -> Any:
        position = positions[slot]
        seen = column <= position
        return seen if window is None else seen & (column > position - window)

    return BlockMask.from_kv_blocks(
        (positions // BLOCK + 1).to(torch.int32)[:, None, None],
        indices.expand(len(positions), 1, 1, blocks).contiguous(),
        BLOCK_SIZE=(BLOCK, BLOCK),
        mask_mod=own,
        seq_lengths=(1, columns),
        compute_q_blocks=False,
    )


def slot_attention(  # noqa: PLR0917  # as the library calls it
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """As the library calls its kernels: (B, H, 1, D) and (B, H, C, D) -> (B, 1, H, D)."""
    if not isinstance(attention_mask, BlockMask):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
    groups = query.shape[1] // key.shape[1]
    shared = groups > 1 and groups & (groups - 1) == 0
    if groups > 1 and not shared:  # the kernel takes powers of two
        key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    made: Any = flex_attention(
        query, key, value, block_mask=attention_mask, scale=scaling, enable_gqa=shared
    )
    return made.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, slot_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


@contextmanager
def in_use(config: Any) -> Iterator[None]:
    """Let the layers with this config use it."""
    usual = config._attn_implementation  # noqa: SLF001  # no public name
    config._attn_implementation = NAME  # noqa: SLF001
    try:
        yield
    finally:
        config._attn_implementation = usual  # noqa: SLF001
        # A compiled call leaves this note of the library as it is within the call: the next vision
        # encoder would have no hidden states.
        collector = output_capturing._active_collector  # noqa: SLF001  # as above
        collector.compiling, collector.global_var = False, None
