"""The decode step: one token for every occupied slot, as a CUDA graph on a GPU.

A step of a small batch is hundreds of kernels, each over before the next one is launched; a CUDA
graph launches them all at once. A graph is fixed to its shapes, so the number of slots and the
KV length are rounded up to a few sizes, and each size is captured when it first occurs.
"""

from __future__ import annotations

import logging
from typing import Any

import torch

from harness.engine.kv_cache import SlotCache
from harness.engine.model_runner import ModelRunner

log = logging.getLogger(__name__)

GRAPH_BLOCK = 256
"""The KV length of a CUDA graph is a multiple of so many tokens."""
NO_TOKEN = -1
"""In place of the token of a row whose logits are not all finite."""


def greedy_tokens(logits: torch.Tensor) -> torch.Tensor:
    """The likeliest token of each row, or NO_TOKEN: (B, V) -> (B,). Nothing waits for the device:
    whoever reads the tokens sees which rows have none."""
    finite = logits.isfinite().all(dim=-1)
    return torch.where(finite, logits.argmax(dim=-1), NO_TOKEN)


class DecodeStep:
    """Runs decode steps from the last tokens and positions of all slots, which it keeps."""

    def __init__(self, runner: ModelRunner, cache: SlotCache) -> None:
        self.tokens = torch.zeros(cache.slots, dtype=torch.long, device=runner.device)
        """The last token of each slot, (S,)."""
        self.positions = torch.zeros_like(self.tokens)
        """Where its keys and values are written, (S,)."""
        self._runner = runner
        self._cache = cache
        self._uses_graphs = runner.device.type == "cuda"
        self._graphs: dict[tuple[int, int, int], Any] = {}
        self._memory_pool: Any = None

    def move(self, source: int, target: int) -> None:
        """Copy one slot's token and position to another."""
        self.tokens[target] = self.tokens[source]
        self.positions[target] = self.positions[source]

    def run(self, occupied: int, kv_length: int) -> torch.Tensor:
        """The next token of the first `occupied` slots, the longest of which has `kv_length` tokens
        with this one; `tokens` and `positions` then are those of the following step."""
        if not self._uses_graphs:
            return self.run_eagerly(occupied, kv_length)
        slots = min(1 << (occupied - 1).bit_length(), self._cache.slots)
        length = min(-(-kv_length // GRAPH_BLOCK) * GRAPH_BLOCK, self._cache.capacity)
        # Free slots of the graph write where nothing is attended to.
        self.positions[occupied:slots] = 0
        self.tokens[occupied:slots] = 0  # NO_TOKEN has no embedding
        key = slots, length, self._cache.capacity
        if key not in self._graphs:
            self._drop_graphs_of_other_capacities()
            try:
                self._graphs[key] = self._capture(slots, length)
            except RuntimeError as error:
                log.warning("Decode steps run without CUDA graphs: %s", str(error).split("\n")[0])
                self._uses_graphs = False
                return self.run_eagerly(occupied, kv_length)
        self._graphs[key].replay()
        return self.tokens[:occupied]

    def run_eagerly(self, slots: int, kv_length: int) -> torch.Tensor:
        """The same, launched kernel by kernel."""
        tokens, positions = self.tokens[:slots], self.positions[:slots]
        valid = torch.arange(kv_length, device=tokens.device) <= positions[:, None]  # (B, kv)
        self._cache.begin_step(slots, kv_length, positions)
        logits = self._runner.decode_step(tokens, positions, valid, self._cache)
        tokens.copy_(greedy_tokens(logits))
        positions.add_(1)
        return tokens

    def _capture(self, slots: int, kv_length: int) -> Any:
        before = self.tokens.clone(), self.positions.clone()
        stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # Kernels are chosen, and memory is taken, before the capture.
            self.run_eagerly(slots, kv_length)
        torch.cuda.current_stream().wait_stream(stream)
        self.tokens.copy_(before[0])
        self.positions.copy_(before[1])
        graph: Any = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory_pool):
            self.run_eagerly(slots, kv_length)
        self._memory_pool = graph.pool()
        return graph

    def _drop_graphs_of_other_capacities(self) -> None:
        """Drop graphs that were captured before the cache grew: they read memory that is no longer
        the cache's own."""
        for key in [key for key in self._graphs if key[2] != self._cache.capacity]:
            del self._graphs[key]
