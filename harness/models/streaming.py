"""Generative models run by the decoding engine: the same answers as `generate` gives, sooner."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from transformers import Cache

from harness.core.errors import SampleError, reason
from harness.core.types import Decoding, Output, Streamed
from harness.engine.decoding import READ_AT_ONCE, Engine, Rules, Written
from harness.engine.rows import Row
from harness.engine.sizing import Seen, fitting, is_out_of_memory, peak_memory, release
from harness.models.generative import GenerativeModel, flat_options
from harness.models.readers import ModelReader

SEEN_BYTES = 1 << 29
"""What was seen in pictures is kept up to so many bytes."""


class StreamingModel(GenerativeModel):
    """A decoder whose rows leave the batch when they are finished.

    Greedy decoding and the scoring of options are the engine's; sampling is left to `generate`,
    whose answers depend on the seed and on the batch.
    """

    engine = "harness"

    def __init__(self, *arguments: Any, reader: ModelReader, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._reader = reader
        self._seen = Seen(SEEN_BYTES)
        self.rows = 0
        """Rows at once that the last stream came to: fewer than asked where memory ran out."""

    def forget(self) -> None:
        """Look at every picture anew."""
        self._seen.clear()

    @property
    def reader(self) -> ModelReader:
        """How the model sees, reads and writes, for who measures it."""
        return self._reader

    def stream(
        self,
        prepared: Iterator[tuple[int, Sequence[Row]]],
        decoding: Decoding,
        *,
        rows: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Iterator[Streamed]:
        """Greedy answers, each as soon as it is finished; see `harness.core.types.Streaming`."""
        if decoding.temperature > 0:
            raise ValueError("a stream is greedy")
        each = ((number, row) for number, one in prepared for row in one)
        for written in self._run(each, decoding, rows=rows, clock=clock):
            yield Streamed(written.number, self._outcome(written, decoding), written.seconds)

    @torch.inference_mode()
    def size(self, prepared: Sequence[Row], decoding: Decoding) -> int:
        """How many rows to have at once: see `harness.core.types.Streaming`.

        The longest of the prompts is read; its keys and values, with room for the answer and for a
        prompt a quarter longer, are what a row takes. On an accelerator that many rows are then
        seated and take two steps; if they do not fit, half of them do. A prompt on which the model
        fails says nothing of the others, so that the next longest is read; 1 where all of them
        fail, or the memory is too small for one.
        """
        for row in sorted(prepared, key=lambda row: row.length, reverse=True):
            try:
                return self._size(row, decoding)
            except Exception as error:  # noqa: BLE001  # here a bad sample becomes an error row, later
                release(self._device)
                if is_out_of_memory(error):
                    break
        return 1

    def _size(self, longest: Row, decoding: Decoding) -> int:
        before = peak_memory(self._device)
        _, cache, _ = self._reader.read([longest], self._seen.of([longest], self._reader.look))
        spent = peak_memory(self._device) - before
        room = longest.length + longest.length // 4 + decoding.max_new_tokens
        per_token, fixed = held_by(cache, longest.length, self._reader.fixed)
        del cache
        # Reading many prompts at once takes more than reading one.
        reading = spent * READ_AT_ONCE // longest.length
        rows = fitting(self._device, each=per_token * room + fixed, besides=max(reading, 0))
        if self._device.type != "cuda":
            return rows
        copies = iter([(number, longest) for number in range(rows)])
        few = Decoding(max_new_tokens=3)
        for written in self._run(copies, few, rows=rows, room=room):
            if written.error is not None:
                raise written.error
        return self.rows

    def generate(self, prepared: Sequence[Row], decoding: Decoding) -> list[Output]:
        """One output per prompt, in order; greedy ones do not depend on the batch."""
        if decoding.temperature > 0:
            return super().generate(prepared, decoding)
        outputs: dict[int, Output] = {}
        for written in self._run(iter(enumerate(prepared)), decoding, rows=len(prepared)):
            if written.error is not None and not isinstance(written.error, SampleError):
                raise written.error
            outputs[written.number] = self._outcome(written, decoding)
        return [outputs[number] for number in sorted(outputs)]

    def _outcome(self, written: Written, decoding: Decoding) -> Output:
        """What a row has written, or why it has not."""
        if written.error is None:
            return self._output(written.row, written.tokens, decoding)
        return Output("", written.row.text, None, None, error=reason(written.error))

    def _run(
        self,
        prompts: Iterator[tuple[int, Row]],
        decoding: Decoding,
        *,
        rows: int,
        room: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Iterator[Written]:
        engine = Engine(
            self._reader,
            seats=max(rows, 1),
            rules=Rules(
                decoding.max_new_tokens,
                self._ends,
                self._has_written(decoding.stop) if decoding.stop else None,
                self.context,
            ),
            seen=self._seen,
            room=room,
            clock=clock,
        )
        self.rows = engine.seats
        for written in engine.run(prompts):
            self.rows = engine.seats
            yield written

    def _logits(
        self, rows: Sequence[Row], tokens: Sequence[Sequence[Sequence[int]]]
    ) -> torch.Tensor:
        """All tokens of all options in one pass behind the prompts that they follow."""
        seen = self._seen.of(rows, self._reader.look)
        logits, cache, extras = self._reader.read(rows, seen)
        owner, padded = flat_options(tokens, self._device)
        first = logits[owner][:, None]  # (N, 1, V)
        if padded.shape[1] == 1:
            return first
        cache.batch_select_indices(owner)
        lengths = torch.tensor([row.length for row in rows], device=self._device)[owner]
        mine = {name: value[owner] for name, value in extras.items()}
        following = self._reader.follow(padded[:, :-1], lengths, cache, mine)
        return torch.cat([first, following], dim=1)


def held_by(cache: Cache, length: int, fixed: Collection[int]) -> tuple[int, int]:
    """Bytes that one prompt of this length holds in a cache: for each token, and besides."""
    per_token = besides = 0
    layers: Sequence[Any] = cache.layers
    for place, layer in enumerate(layers):
        if not getattr(layer, "is_initialized", False):
            continue
        held = sum(t.numel() * t.element_size() for t in (layer.keys, layer.values))
        if place in fixed:
            besides += held
        else:
            per_token += held // length
    return per_token, besides
