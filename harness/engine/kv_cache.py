"""The KV cache: keys and values of all slots, in memory that is taken once and written in place.

A slot's tokens stand at 0, 1, 2 ... whatever the lengths of the other slots: there is no padding
between them, so a slot can be given to another request at any step. What stands after a slot's last
token is left over from an earlier request, and masked.
"""

# transformers is typed in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

CACHE_BLOCK = 64
"""The capacity of a slot is a multiple of so many tokens."""
GRAPH_BLOCK = 256
"""The same where decode steps are CUDA graphs, which are fixed to their KV length."""
GROWTH = 5 / 4
"""A capacity that is too small grows by this factor at least: with each growth what is cached is
copied, and CUDA graphs are captured anew."""


def capacity_for(length: int, *, held: int, block: int) -> int:
    """Tokens that each slot gets memory for, so that `length` fit; `held` if they do already."""
    if length <= held:
        return held
    return -(-max(length, int(held * GROWTH)) // block) * block


class SlotCache(Cache):
    """The cache of a decode step: a row for each occupied slot, which writes at its own position.

    Args:
        cross_attention_layers: layers whose keys are those of the images: the prefill fills them,
            and decode steps only read them.
    """

    def __init__(self, slots: int, *, cross_attention_layers: Collection[int] = ()) -> None:
        self._layers: list[_Layer] = []
        super().__init__(layers=self._layers)  # type: ignore[arg-type]  # its list takes more kinds
        self.slots = slots
        self.capacity = 0
        """Tokens that each slot has memory for."""
        self.step_inputs: dict[str, torch.Tensor] = {}
        """What else the model needs at every decode step, a row for each occupied slot."""
        self._cross_attention_layers = frozenset(cross_attention_layers)
        self._all_step_inputs: dict[str, torch.Tensor] = {}

    @property
    def bytes(self) -> int:
        """The memory that it holds."""
        held = [t for layer in self._layers for t in (layer.all_keys, layer.all_values)]
        return sum(t.numel() * t.element_size() for t in held if t is not None)

    def reserve(self, length: int, *, block: int = CACHE_BLOCK) -> bool:
        """Take memory for at least so many tokens in each slot; what is there stays. Returns
        whether the memory is another now."""
        capacity = capacity_for(length, held=self.capacity, block=block)
        if capacity == self.capacity:
            return False
        self.capacity = capacity
        for layer in self._layers:
            if isinstance(layer, _SelfAttention):
                layer.resize(capacity)
        return True

    def insert(
        self,
        slots: range,
        prompts: Cache,
        lengths: Sequence[int],
        step_inputs: Mapping[str, torch.Tensor],
    ) -> bool:
        """Copy the prompts' keys and values, which are padded on the left, to their slots. Returns
        whether the memory is another now."""
        while len(self._layers) < len(prompts.layers):
            crosses = len(self._layers) in self._cross_attention_layers
            self._layers.append(_CrossAttention() if crosses else _SelfAttention())
        replaced = False
        for layer, source in zip(self._layers, prompts.layers, strict=True):
            if getattr(source, "is_initialized", False):  # a layer may have been left out
                replaced |= layer.insert(slots, source, lengths, self.slots, self.capacity)
        for name, value in step_inputs.items():
            held = self._all_step_inputs.get(name)
            grown = self._all_step_inputs[name] = _holding(held, value, self.slots)
            replaced |= grown is not held
            _write(grown, slots, value)
        return replaced

    def move(self, source: int, target: int, length: int) -> None:
        """Copy one slot's contents to another."""
        for layer in self._layers:
            layer.move(source, target, length)
        for value in self._all_step_inputs.values():
            value[target] = value[source]

    def clear_slot(self, slot: int) -> None:
        """Fill a slot with zeros. What is masked is multiplied by 0, and NaN stays NaN."""
        for layer in self._layers:
            layer.clear_slot(slot)

    def begin_step(self, slots: int, kv_length: int, positions: torch.Tensor) -> None:
        """Set how many slots take part, how many of their tokens are attended to, and where each
        writes, (slots,)."""
        index = torch.arange(slots, device=positions.device)
        for layer in self._layers:
            layer.begin_step(index, kv_length, positions)
        self.step_inputs = {name: value[:slots] for name, value in self._all_step_inputs.items()}


class _Layer(CacheLayerMixin):
    """What both kinds of layers have in common: `keys` and `values` are what a step attends to of
    `all_keys` and `all_values`, which have a row for each slot, (S, H, C, D)."""

    is_compileable = (
        True  # so that no step looks at a mask's values, which would wait for the device
    )

    def __init__(self) -> None:
        super().__init__()
        self.all_keys: Any = None
        self.all_values: Any = None
        self._rows: Any = None
        self._kv_length = 0
        self._positions: Any = None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        raise NotImplementedError

    def insert(
        self, slots: range, source: Any, lengths: Sequence[int], total: int, capacity: int
    ) -> bool:
        """Copy prompts, padded on the left, to slots, of which there are `total`; returns whether
        memory was taken for it."""
        raise NotImplementedError

    def move(self, source: int, target: int, length: int) -> None:
        """Copy one slot's contents, so many tokens, to another."""
        raise NotImplementedError

    def clear_slot(self, slot: int) -> None:
        """Fill one slot with zeros."""
        if self.is_initialized:
            self.all_keys[slot] = 0
            self.all_values[slot] = 0

    def begin_step(self, rows: torch.Tensor, kv_length: int, positions: torch.Tensor) -> None:
        self._rows, self._kv_length, self._positions = rows, kv_length, positions
        if self.is_initialized:
            columns = self._columns(kv_length)
            self.keys = self.all_keys[: len(rows), :, :columns]
            self.values = self.all_values[: len(rows), :, :columns]

    def _columns(self, kv_length: int) -> int:
        """How many of a slot's keys a step attends to."""
        return kv_length

    def get_seq_length(self) -> int:
        """Tokens before this step's: as if all rows were as long as the longest."""
        return self._kv_length - 1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._kv_length - 1 + query_length, 0

    def get_max_length(self) -> int:
        return -1 if self.all_keys is None else int(self.all_keys.shape[2])


class _SelfAttention(_Layer):
    """Self-attention: each step writes one token for each row."""

    def insert(
        self, slots: range, source: Any, lengths: Sequence[int], total: int, capacity: int
    ) -> bool:
        fresh = not self.is_initialized
        if fresh:
            for name, like in (("all_keys", source.keys), ("all_values", source.values)):
                _, heads, _, width = like.shape
                # Zeros: what is masked is multiplied by 0, and must be a number.
                setattr(self, name, like.new_zeros((total, heads, capacity, width)))
            self.is_initialized = True
        for row, (slot, length) in enumerate(zip(slots, lengths, strict=True)):
            self.all_keys[slot, :, :length] = source.keys[row, :, -length:]
            self.all_values[slot, :, :length] = source.values[row, :, -length:]
        return fresh

    def resize(self, capacity: int) -> None:
        if not self.is_initialized:
            return
        for name in ("all_keys", "all_values"):
            old = getattr(self, name)
            new = old.new_zeros((*old.shape[:2], capacity, old.shape[3]))
            new[:, :, : old.shape[2]] = old
            setattr(self, name, new)

    def move(self, source: int, target: int, length: int) -> None:
        if self.is_initialized:
            self.all_keys[target, :, :length] = self.all_keys[source, :, :length]
            self.all_values[target, :, :length] = self.all_values[source, :, :length]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, H, 1, D) each -> (B, H, kv_length, D) each, this step's token included."""
        self.all_keys[self._rows, :, self._positions] = key_states[:, :, 0]
        self.all_values[self._rows, :, self._positions] = value_states[:, :, 0]
        keys: Any = self.keys
        values: Any = self.values
        return keys, values  # views of what was just written into


class _CrossAttention(_Layer):
    """Cross-attention: the images' keys, the same at every step."""

    def insert(
        self, slots: range, source: Any, lengths: Sequence[int], total: int, capacity: int
    ) -> bool:
        del lengths, capacity
        held = self.all_keys
        for name, value in (("all_keys", source.keys), ("all_values", source.values)):
            setattr(self, name, _holding(getattr(self, name), value, total))
            _write(getattr(self, name), slots, value)
        self.is_initialized = True
        return held is not self.all_keys

    def move(self, source: int, target: int, length: int) -> None:
        del length
        if self.is_initialized:
            self.all_keys[target] = self.all_keys[source]
            self.all_values[target] = self.all_values[source]

    def _columns(self, kv_length: int) -> int:
        del kv_length
        return int(self.all_keys.shape[2])

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        raise NotImplementedError("a decode step has no images")


def _holding(held: torch.Tensor | None, value: torch.Tensor, slots: int) -> torch.Tensor:
    """`held`, or where a row of `value` has no place in it a larger one: a row for each slot, zeros
    where nothing was written."""
    sizes = value.shape[1:]
    if held is None:
        return value.new_zeros((slots, *sizes))
    if all(own <= there for own, there in zip(sizes, held.shape[1:], strict=True)):
        return held
    larger = map(max, zip(sizes, held.shape[1:], strict=True))
    grown = held.new_zeros((slots, *larger))
    grown[tuple(map(slice, held.shape))] = held
    return grown


def _write(held: torch.Tensor, slots: range, value: torch.Tensor) -> None:
    """Write rows into slots, zeros after them."""
    rows = held[slots.start : slots.stop]
    if rows.shape != value.shape:
        rows.zero_()
    rows[tuple(map(slice, value.shape))] = value
