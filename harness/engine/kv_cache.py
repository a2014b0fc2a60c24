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

    def reserve(self, capacity: int) -> None:
        """Take memory for at least so many tokens in each slot; what is there stays."""
        if capacity <= self.capacity:
            return
        self.capacity = capacity
        for layer in self._layers:
            if isinstance(layer, _SelfAttention):
                layer.resize(capacity)

    def insert(
        self,
        slots: Sequence[int],
        prompts: Cache,
        lengths: Sequence[int],
        step_inputs: Mapping[str, torch.Tensor],
    ) -> None:
        """Copy the prompts' keys and values, which are padded on the left, to their slots."""
        while len(self._layers) < len(prompts.layers):
            crosses = len(self._layers) in self._cross_attention_layers
            self._layers.append(_CrossAttention() if crosses else _SelfAttention())
        for layer, source in zip(self._layers, prompts.layers, strict=True):
            if getattr(source, "is_initialized", False):  # a layer may have been left out
                layer.insert(slots, source, lengths, self.slots, self.capacity)
        for name, value in step_inputs.items():
            if name not in self._all_step_inputs:
                self._all_step_inputs[name] = value.new_zeros((self.slots, *value.shape[1:]))
            self._all_step_inputs[name][list(slots)] = value

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
        self, slots: Sequence[int], source: Any, lengths: Sequence[int], total: int, capacity: int
    ) -> None:
        """Copy prompts, padded on the left, to slots, of which there are `total`."""
        raise NotImplementedError

    def move(self, source: int, target: int, length: int) -> None:
        """Copy one slot's contents, so many tokens, to another."""
        raise NotImplementedError

    def clear_slot(self, slot: int) -> None:
        """Fill one slot with zeros."""
        if self.is_initialized:
            self.all_keys[slot] = 0
            self.all_values[slot] = 0

    def _allocate(self, source: Any, slots: int, capacity: int) -> None:
        """Zeros, not whatever is there: what is masked is multiplied by 0, and must be a number."""
        for name, like in (("all_keys", source.keys), ("all_values", source.values)):
            _, heads, _, width = like.shape
            setattr(self, name, like.new_zeros((slots, heads, capacity, width)))
        self.is_initialized = True

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
        self, slots: Sequence[int], source: Any, lengths: Sequence[int], total: int, capacity: int
    ) -> None:
        if not self.is_initialized:
            self._allocate(source, total, capacity)
        for row, (slot, length) in enumerate(zip(slots, lengths, strict=True)):
            self.all_keys[slot, :, :length] = source.keys[row, :, -length:]
            self.all_values[slot, :, :length] = source.values[row, :, -length:]

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
        self, slots: Sequence[int], source: Any, lengths: Sequence[int], total: int, capacity: int
    ) -> None:
        del lengths, capacity
        if not self.is_initialized:
            self._allocate(source, total, source.keys.shape[2])
        self.all_keys[list(slots)] = source.keys
        self.all_values[list(slots)] = source.values

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
