"""Generative models run by the decoding engine: the same answers as `generate` gives, sooner."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from harness.engine.decoding import Engine, Rules, Written
from harness.engine.rows import Row
from harness.engine.sizing import Seen
from harness.models.generative import GenerativeModel, flat_options
from harness.models.readers import ModelReader
from harness.types import Decoding, Output, Streamed

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

    def stream(
        self,
        prepared: Iterator[tuple[int, Sequence[Row]]],
        decoding: Decoding,
        *,
        rows: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Iterator[Streamed]:
        """Greedy answers, each as soon as it is finished; see `harness.types.Streaming`."""
        if decoding.temperature > 0:
            raise ValueError("a stream is greedy")
        each = ((number, row) for number, one in prepared for row in one)
        for written in self._run(each, decoding, rows=rows, clock=clock):
            output = self._output(written.row, written.tokens)
            if written.error is not None:
                reason = f"{type(written.error).__name__}: {written.error}"
                output = Output("", written.row.text, None, None, error=reason)
            yield Streamed(written.number, output, written.seconds)

    def generate(self, prepared: Sequence[Row], decoding: Decoding) -> list[Output]:
        """One output per prompt, in order; greedy ones do not depend on the batch."""
        if decoding.temperature > 0:
            return super().generate(prepared, decoding)
        outputs: dict[int, Output] = {}
        for written in self._run(iter(enumerate(prepared)), decoding, rows=len(prepared)):
            if written.error is not None:
                raise written.error
            outputs[written.number] = self._output(written.row, written.tokens)
        return [outputs[number] for number in sorted(outputs)]

    def _run(
        self,
        prompts: Iterator[tuple[int, Row]],
        decoding: Decoding,
        *,
        rows: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Iterator[Written]:
        engine = Engine(
            self._reader,
            seats=max(rows, 1),
            rules=Rules(
                decoding.max_new_tokens,
                self._ends,
                self._has_written(decoding.stop) if decoding.stop else None,
            ),
            seen=self._seen,
            clock=clock,
        )
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
