"""Keys and values of all seats, in memory that is taken once and written in place.

A seat's tokens stand at 0, 1, 2 ... whatever the lengths of its neighbours: there is no padding
between them, so a seat can be given to another prompt at any step. What stands behind a seat's last
token is left over from before, and masked.
"""

# transformers is typed in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin


class SeatCache(Cache):
    """The cache of a step: as many rows as are seated, each writing at its own position.

    Args:
        seats: rows there is room for.
        fixed: layers whose keys are those of the pictures: taken with the prompt, then only read.
    """

    def __init__(self, seats: int, *, fixed: Collection[int] = ()) -> None:
        self._layers: list[_Layer] = []
        super().__init__(layers=self._layers)  # type: ignore[arg-type]  # its list takes more kinds
        self.seats = seats
        self.capacity = 0
        """Tokens that each seat has room for."""
        self.extras: dict[str, torch.Tensor] = {}
        """What else a model wants to be reminded of at every step, a row for each seat."""
        self._fixed = frozenset(fixed)
        self._all_extras: dict[str, torch.Tensor] = {}

    @property
    def bytes(self) -> int:
        """The memory that it holds."""
        held = [t for layer in self._layers for t in (layer.all_keys, layer.all_values)]
        return sum(t.numel() * t.element_size() for t in held if t is not None)

    def reserve(self, capacity: int) -> None:
        """Make room for so many tokens at each seat; what is there stays."""
        if capacity <= self.capacity:
            return
        self.capacity = capacity
        for layer in self._layers:
            if isinstance(layer, _Growing):
                layer.resize(capacity)

    def seat(
        self,
        seats: Sequence[int],
        prompts: Cache,
        lengths: Sequence[int],
        extras: Mapping[str, torch.Tensor],
    ) -> None:
        """Copy the prompts' keys and values, which are padded on the left, to their seats."""
        while len(self._layers) < len(prompts.layers):
            fixed = len(self._layers) in self._fixed
            self._layers.append(_Fixed() if fixed else _Growing())
        for layer, source in zip(self._layers, prompts.layers, strict=True):
            if getattr(source, "is_initialized", False):  # a layer may have been left out
                layer.take_in(seats, source, lengths, self.seats, self.capacity)
        for name, value in extras.items():
            if name not in self._all_extras:
                self._all_extras[name] = value.new_zeros((self.seats, *value.shape[1:]))
            self._all_extras[name][list(seats)] = value

    def move(self, source: int, target: int, length: int) -> None:
        """Give one seat's contents to another."""
        for layer in self._layers:
            layer.move(source, target, length)
        for value in self._all_extras.values():
            value[target] = value[source]

    def wipe(self, seat: int) -> None:
        """Take out what a seat held. What is masked is multiplied by 0, and NaN stays NaN."""
        for layer in self._layers:
            layer.wipe(seat)

    def begin_step(self, rows: int, reach: int, positions: torch.Tensor) -> None:
        """Say how many seats take part, how far they are read, and where each writes, (rows,)."""
        index = torch.arange(rows, device=positions.device)
        for layer in self._layers:
            layer.begin_step(index, reach, positions)
        self.extras = {name: value[:rows] for name, value in self._all_extras.items()}


class _Layer(CacheLayerMixin):
    """What both kinds of layers have in common: `keys` and `values` are what a step sees of
    `all_keys` and `all_values`, which have a row for each seat, (S, H, C, D)."""

    is_compileable = (
        True  # so that no step looks at a mask's values, which would wait for the device
    )

    def __init__(self) -> None:
        super().__init__()
        self.all_keys: Any = None
        self.all_values: Any = None
        self._rows: Any = None
        self._reach = 0
        self._positions: Any = None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        raise NotImplementedError

    def take_in(
        self, seats: Sequence[int], source: Any, lengths: Sequence[int], total: int, capacity: int
    ) -> None:
        """Copy prompts, padded on the left, to seats, of which there are `total`."""
        raise NotImplementedError

    def move(self, source: int, target: int, length: int) -> None:
        """Give one seat's contents, so many tokens, to another."""
        raise NotImplementedError

    def wipe(self, seat: int) -> None:
        """Make zeros of one seat's contents."""
        if self.is_initialized:
            self.all_keys[seat] = 0
            self.all_values[seat] = 0

    def _allocate(self, source: Any, seats: int, capacity: int) -> None:
        """Zeros, not whatever is there: what is masked is multiplied by 0, and must be a number."""
        for name, like in (("all_keys", source.keys), ("all_values", source.values)):
            _, heads, _, width = like.shape
            setattr(self, name, like.new_zeros((seats, heads, capacity, width)))
        self.is_initialized = True

    def begin_step(self, rows: torch.Tensor, reach: int, positions: torch.Tensor) -> None:
        self._rows, self._reach, self._positions = rows, reach, positions
        if self.is_initialized:
            self.keys = self.all_keys[: len(rows), :, : self._read_to(reach)]
            self.values = self.all_values[: len(rows), :, : self._read_to(reach)]

    def _read_to(self, reach: int) -> int:
        """Columns that a step sees."""
        return reach

    def get_seq_length(self) -> int:
        """Tokens before this step's: as if all rows were as long as the longest."""
        return self._reach - 1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._reach - 1 + query_length, 0

    def get_max_length(self) -> int:
        return -1 if self.all_keys is None else int(self.all_keys.shape[2])


class _Growing(_Layer):
    """Self-attention: each step writes one token for each row."""

    def take_in(
        self, seats: Sequence[int], source: Any, lengths: Sequence[int], total: int, capacity: int
    ) -> None:
        if not self.is_initialized:
            self._allocate(source, total, capacity)
        for row, (seat, length) in enumerate(zip(seats, lengths, strict=True)):
            self.all_keys[seat, :, :length] = source.keys[row, :, -length:]
            self.all_values[seat, :, :length] = source.values[row, :, -length:]

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
        """(B, H, 1, D) each -> (B, H, reach, D) each, this step's token included."""
        self.all_keys[self._rows, :, self._positions] = key_states[:, :, 0]
        self.all_values[self._rows, :, self._positions] = value_states[:, :, 0]
        keys: Any = self.keys
        values: Any = self.values
        return keys, values  # views of what was just written into


class _Fixed(_Layer):
    """Cross-attention: the same keys at every step."""

    def take_in(
        self, seats: Sequence[int], source: Any, lengths: Sequence[int], total: int, capacity: int
    ) -> None:
        del lengths, capacity
        if not self.is_initialized:
            self._allocate(source, total, source.keys.shape[2])
        self.all_keys[list(seats)] = source.keys
        self.all_values[list(seats)] = source.values

    def move(self, source: int, target: int, length: int) -> None:
        del length
        if self.is_initialized:
            self.all_keys[target] = self.all_keys[source]
            self.all_values[target] = self.all_values[source]

    def _read_to(self, reach: int) -> int:
        del reach
        return int(self.all_keys.shape[2])

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        raise NotImplementedError("a step has no pictures")
