"""One token for every row: as it is, or, on a GPU, recorded once and launched as a whole.

A step of a small batch is hundreds of kernels, each over before the next one is launched; a CUDA
graph launches them all at once. A graph is fixed to its shapes, so rows and reach are rounded up to
few sizes, each recorded when it first occurs.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from harness.engine.cache import SeatCache
    from harness.engine.decoding import Reader

log = logging.getLogger(__name__)

REACH = 256
"""Graphs are made for multiples of so many tokens."""


NO_TOKEN = -1
"""In place of the token of a row whose logits are not all finite."""


def likeliest(logits: torch.Tensor) -> torch.Tensor:
    """The likeliest token of each row, or NO_TOKEN: (B, V) -> (B,). Nothing waits for the device:
    whoever reads the tokens sees which rows have none."""
    finite = logits.isfinite().all(dim=-1)
    return torch.where(finite, logits.argmax(dim=-1), NO_TOKEN)


class Steps:
    """Steps of the rows that are seated, from the tokens and positions that it keeps for them."""

    def __init__(self, reader: Reader, cache: SeatCache) -> None:
        self.tokens = torch.zeros(cache.seats, dtype=torch.long, device=reader.device)
        """The last token of each seat, (S,)."""
        self.positions = torch.zeros_like(self.tokens)
        """Where its keys and values are to be written, (S,)."""
        self._reader = reader
        self._cache = cache
        self._records = reader.device.type == "cuda"
        self._graphs: dict[tuple[int, int, int], Any] = {}
        self._memory: Any = None

    def move(self, source: int, target: int) -> None:
        """Give one seat's state to another."""
        self.tokens[target] = self.tokens[source]
        self.positions[target] = self.positions[source]

    def run(self, rows: int, reach: int) -> torch.Tensor:
        """The next token of the first `rows` seats, the longest of which has `reach` tokens with
        this one; `tokens` and `positions` then are those of the step after."""
        if not self._records:
            return self.once(rows, reach)
        wide = min(1 << (rows - 1).bit_length(), self._cache.seats)
        far = min(-(-reach // REACH) * REACH, self._cache.capacity)
        # Seats that nobody has write where nobody reads.
        self.positions[rows:wide] = 0
        self.tokens[rows:wide] = 0  # NO_TOKEN has no embedding
        key = wide, far, self._cache.capacity
        if key not in self._graphs:
            self._forget_other_capacities()
            try:
                self._graphs[key] = self._record(wide, far)
            except RuntimeError as error:
                log.warning("Steps are not recorded: %s", str(error).split("\n")[0])
                self._records = False
                return self.once(rows, reach)
        self._graphs[key].replay()
        return self.tokens[:rows]

    def once(self, rows: int, reach: int) -> torch.Tensor:
        """The same, launched kernel by kernel."""
        tokens, positions = self.tokens[:rows], self.positions[:rows]
        valid = torch.arange(reach, device=tokens.device) <= positions[:, None]  # (B, reach)
        self._cache.begin_step(rows, reach, positions)
        logits = self._reader.write(tokens, positions, valid, self._cache)
        tokens.copy_(likeliest(logits))
        positions.add_(1)
        return tokens

    def _record(self, rows: int, reach: int) -> Any:
        before = self.tokens.clone(), self.positions.clone()
        stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.once(rows, reach)  # kernels are chosen, and memory is taken, before the record
        torch.cuda.current_stream().wait_stream(stream)
        self.tokens.copy_(before[0])
        self.positions.copy_(before[1])
        graph: Any = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory):
            self.once(rows, reach)
        self._memory = graph.pool()
        return graph

    def _forget_other_capacities(self) -> None:
        """Records of a cache that has grown since read memory that is no longer its own."""
        for key in [key for key in self._graphs if key[2] != self._cache.capacity]:
            del self._graphs[key]
