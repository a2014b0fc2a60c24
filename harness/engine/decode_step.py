"""The decode step: one token for every occupied slot, as a CUDA graph on a GPU.

A step of a small batch is hundreds of kernels, each over before the next one is launched; a CUDA
graph launches them all at once. A graph is fixed to its shapes, so the number of slots and the
KV length are rounded up to a few sizes, and each size is captured when it first occurs.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

import torch

from harness.engine.kv_cache import CACHE_BLOCK, GRAPH_BLOCK, SlotCache
from harness.engine.memory import is_out_of_memory, release
from harness.engine.model_runner import ModelRunner, Prefilled
from harness.engine.staging import Staging

log = logging.getLogger(__name__)

MAX_CUDA_GRAPHS = 32
"""Graphs that are kept; the one that was not used for longest goes."""
NO_TOKEN = -1
"""In place of the token of a row whose logits are not all finite."""


def greedy_tokens(logits: torch.Tensor) -> torch.Tensor:
    """The likeliest token of each row, or NO_TOKEN: (B, V) -> (B,). Nothing waits for the device:
    whoever reads the tokens sees which rows have none."""
    finite = logits.isfinite().all(dim=-1)
    return torch.where(finite, logits.argmax(dim=-1), NO_TOKEN)


def decode(
    runner: ModelRunner,
    cache: SlotCache,
    tokens: torch.Tensor,
    positions: torch.Tensor,
    kv_length: int,
) -> None:
    """Run one step of the first slots: their last tokens, (B,), become the next ones, and their
    positions, (B,), those that follow; the longest has `kv_length` tokens with this one."""
    valid = torch.arange(kv_length, device=tokens.device) <= positions[:, None]  # (B, kv)
    cache.begin_step(len(tokens), kv_length, positions)
    logits = runner.decode_step(tokens, positions, valid, cache)
    tokens.copy_(greedy_tokens(logits))
    positions.add_(1)


class Decode(Protocol):
    """`decode`, or what `harness.engine.compilation` makes of it."""

    def __call__(
        self,
        runner: ModelRunner,
        cache: SlotCache,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        kv_length: int,
        /,
    ) -> None: ...


class DecodeStep:
    """Runs decode steps from the last tokens and positions of all slots, which it keeps."""

    def __init__(self, runner: ModelRunner, cache: SlotCache, decode: Decode = decode) -> None:
        self.tokens = torch.zeros(cache.slots, dtype=torch.long, device=runner.device)
        """The last token of each slot, (S,)."""
        self.positions = torch.zeros_like(self.tokens)
        """Where its keys and values are written, (S,)."""
        self._staging = Staging(runner.device)
        self._runner = runner
        self._cache = cache
        self._decode = decode
        self._own_lengths = getattr(decode, "own_lengths", False)
        self._uses_graphs = runner.device.type == "cuda"
        self._graphs: dict[tuple[int, int], Any] = {}
        self._too_large: set[tuple[int, int]] = set()
        """Sizes whose capture ran out of memory."""
        self._memory_pool: Any = None

    def insert(
        self, slots: range, prefilled: Prefilled, lengths: Sequence[int], *, capacity: int
    ) -> torch.Tensor:
        """Put prompts of these lengths into slots; returns the first token of each.

        Args:
            capacity: tokens that each slot has memory for, at least.
        """
        cache, step_inputs = prefilled.cache, prefilled.step_inputs
        block = GRAPH_BLOCK if self._uses_graphs else CACHE_BLOCK
        replaced = self._cache.reserve(capacity, block=block)
        if self._cache.insert(slots, cache, lengths, step_inputs) or replaced:
            self._drop_graphs()
        first = greedy_tokens(prefilled.logits)
        self.tokens[slots.start : slots.stop] = first
        self.positions[slots.start : slots.stop] = self._staging([torch.tensor(lengths)])
        return first

    def move(self, source: int, target: int) -> None:
        """Copy one slot's token and position to another."""
        self.tokens[target] = self.tokens[source]
        self.positions[target] = self.positions[source]

    def run(self, occupied: int, kv_length: int) -> torch.Tensor:
        """The next token of the first `occupied` slots, the longest of which has `kv_length` tokens
        with this one; `tokens` and `positions` then are those of the following step."""
        if self._own_lengths:  # one step for all lengths
            kv_length = self._cache.capacity
        if not self._uses_graphs:
            return self.run_eagerly(occupied, kv_length)
        slots = min(1 << (occupied - 1).bit_length(), self._cache.slots)
        length = min(-(-kv_length // GRAPH_BLOCK) * GRAPH_BLOCK, self._cache.capacity)
        # Free slots of the graph write where nothing is attended to.
        self.positions[occupied:slots] = 0
        self.tokens[occupied:slots] = 0  # NO_TOKEN has no embedding
        graph = self._graph(slots, length)
        if graph is None:
            return self.run_eagerly(occupied, kv_length)
        graph.replay()
        return self.tokens[:occupied]

    def run_eagerly(self, slots: int, kv_length: int) -> torch.Tensor:
        """The same, launched kernel by kernel."""
        tokens = self.tokens[:slots]
        self._decode(self._runner, self._cache, tokens, self.positions[:slots], kv_length)
        return tokens

    def _drop_graphs(self) -> None:
        """Drop all graphs, as when the memory is replaced that they read, and their memory pool: a
        pool whose last graph is gone cannot be used again."""
        self._graphs.clear()
        self._too_large.clear()
        self._memory_pool = None

    def _graph(self, slots: int, kv_length: int) -> Any:
        """The graph of this size, captured when it first occurs; None: such a step is launched
        kernel by kernel."""
        size = slots, kv_length
        if size in self._graphs:
            self._graphs[size] = self._graphs.pop(size)  # the last one is the one used last
            return self._graphs[size]
        if size in self._too_large:
            return None
        if self._capture(slots, kv_length) and self._graphs:
            # The graphs of other sizes may hold what this one needs.
            self._drop_graphs()
            release(self._runner.device)
            self._capture(slots, kv_length)
        if size not in self._graphs:
            self._too_large.add(size)
        elif len(self._graphs) > MAX_CUDA_GRAPHS:
            del self._graphs[next(iter(self._graphs))]
        return self._graphs.get(size)

    def _capture(self, slots: int, kv_length: int) -> bool:
        """Capture the graph of this size; returns whether memory ran out. Any other failure ends
        the use of graphs."""
        before = self.tokens.clone(), self.positions.clone()
        try:
            self._graphs[slots, kv_length] = self._captured(slots, kv_length, before)
        except RuntimeError as error:
            # What ends the capture may fail in its turn.
            if is_out_of_memory(error) or is_out_of_memory(error.__context__ or error):
                return True
            log.warning("Decode steps run without CUDA graphs: %s", str(error).split("\n")[0])
            self._uses_graphs = False
        finally:
            self._restore(before)
        return False

    def _captured(
        self, slots: int, kv_length: int, before: tuple[torch.Tensor, torch.Tensor]
    ) -> Any:
        stream: Any = torch.cuda.Stream(self._runner.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # Kernels are chosen, and memory is taken, before the capture.
            self.run_eagerly(slots, kv_length)
        torch.cuda.current_stream().wait_stream(stream)
        self._restore(before)
        graph: Any = torch.cuda.CUDAGraph()
        # What another thread allocates meanwhile, pinned memory too, is not part of it.
        with torch.cuda.graph(graph, pool=self._memory_pool, capture_error_mode="thread_local"):
            self.run_eagerly(slots, kv_length)
        self._memory_pool = graph.pool()
        return graph

    def _restore(self, before: tuple[torch.Tensor, torch.Tensor]) -> None:
        self.tokens.copy_(before[0])
        self.positions.copy_(before[1])
