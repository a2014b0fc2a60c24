"""Continuous batching: admit requests, run one decode step for every occupied slot, retire finished
requests."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from harness.core.errors import NOT_FINITE, SampleError
from harness.engine.budget import PassBudget
from harness.engine.decode_step import NO_TOKEN, Decode, DecodeStep, decode
from harness.engine.encoded_prompts import EncodedPrompt
from harness.engine.image_features import ImageFeatureCache
from harness.engine.kv_cache import SlotCache
from harness.engine.memory import attempt, is_out_of_memory, release
from harness.engine.model_runner import ModelRunner
from harness.engine.prefill import prefill
from harness.engine.scheduling import Request, RequestQueue
from harness.engine.vision_passes import VisionPasses

log = logging.getLogger(__name__)

REFILL_FRACTION = 1 / 8
"""Requests are admitted when this fraction of all slots is free: prompts that are prefilled
together take less time than one after the other, which outweighs that a few slots wait."""


@dataclass(frozen=True, slots=True)
class StopConditions:
    """When a request is finished."""

    max_new_tokens: int
    end_tokens: frozenset[int]
    """Tokens that end an answer."""
    reached_stop_text: Callable[[Sequence[int]], bool] | None = None
    """Whether the generated tokens contain the text that ends an answer; None: no text does."""
    context: int | None = None
    """Tokens that prompt and answer may have together; None: any number."""

    def met(self, tokens: Sequence[int], prompt_length: int) -> bool:
        """Whether nothing follows these generated tokens."""
        if tokens[-1] in self.end_tokens or len(tokens) >= self.max_new_tokens:
            return True
        if self.context is not None and prompt_length + len(tokens) > self.context:
            return True
        return self.reached_stop_text is not None and self.reached_stop_text(tokens)


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished request."""

    number: int
    prompt: EncodedPrompt
    tokens: Sequence[int]
    """Up to and with its end token."""
    seconds: float
    """Its equal shares of the passes that it took part in."""
    error: Exception | None = None


class Engine:
    """Decodes greedily, as many requests at once as there are slots.

    Time is shared equally: that of a decode step by the requests in it, that of a prefill by the
    requests that are prefilled. So the seconds of all requests add up to the engine's own.

    Args:
        slots: requests at once; halved for good where memory runs out.
        features: kept from one run to the next.
        capacity: tokens that each slot has memory for from the start; it grows as prompts need it.
        budget: of one pass; made smaller for good where memory runs out.
        decode: see `harness.engine.decode_step.DecodeStep`.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        runner: ModelRunner,
        *,
        slots: int,
        stop: StopConditions,
        features: ImageFeatureCache,
        capacity: int = 0,
        budget: PassBudget = PassBudget(),  # noqa: B008  # frozen
        decode: Decode = decode,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.slots = slots
        self._requested_slots = slots
        self._requested_budget = budget
        self._max_tokens = budget.tokens
        self._runner = runner
        self.stop = stop
        """May be replaced between two runs."""
        self._vision = VisionPasses(runner, features, max_pixels=budget.pixels)
        self._capacity = capacity
        self._decode_call = decode
        self._clock = clock
        self._running: list[Request] = []  # the i-th has slot i: the batch has no gaps
        self._allocate()

    @property
    def budget(self) -> PassBudget:
        """What goes into one pass now."""
        return PassBudget(self._max_tokens, self._vision.max_pixels)

    def _allocate(self) -> None:
        layers = self._runner.cross_attention_layers
        self._cache = SlotCache(self.slots, cross_attention_layers=layers)
        self._step = DecodeStep(self._runner, self._cache, self._decode_call)

    @torch.inference_mode()
    def run(self, prompts: Iterator[tuple[int, EncodedPrompt]]) -> Iterator[Completion]:
        """Each prompt's completion, as soon as it is finished."""
        queue = RequestQueue(prompts, self._runner.batch_key)
        while queue or self._running:
            free = self.slots - len(self._running)
            if not self._running or free >= self.slots * REFILL_FRACTION:
                yield from self._admit(queue)
            if self._running:
                yield from self._decode(queue)

    def _admit(self, queue: RequestQueue) -> Iterator[Completion]:
        """Prefill requests until all slots are occupied."""
        while free := self.slots - len(self._running):
            queue.fetch(free)
            key = queue.batch_key
            chosen = queue.next_batch(free, any_key=not self._running, max_tokens=self._max_tokens)
            if not chosen:
                return
            if queue.batch_key != key:
                self._allocate()
            yield from self._prefill(chosen, queue)

    def _prefill(self, chosen: list[Request], queue: RequestQueue) -> Iterator[Completion]:
        """Prefill some requests, and retire those that are finished with their first token. A batch
        that fails is halved, until the prompt that is at fault, or the size that fits, is found."""
        started = self._clock()
        upcoming = queue.upcoming(self.slots - len(self._running) - len(chosen))
        tokens, error = attempt(lambda: self._fill_slots(chosen, upcoming))
        self._share_time(chosen, started)
        if error is None:
            yield from self._append_tokens(chosen, tokens)
            return
        release(self._runner.device)
        out_of_memory = is_out_of_memory(error)
        if len(chosen) > 1:
            middle = len(chosen) // 2
            if out_of_memory:
                self._max_tokens = middle * max(request.length for request in chosen)
                for request in reversed(chosen[middle:]):
                    queue.requeue(request)
            yield from self._prefill(chosen[:middle], queue)
            if not out_of_memory:
                yield from self._prefill(chosen[middle:], queue)
        elif out_of_memory and self.slots > 1:
            queue.requeue(chosen[0])
            self._halve_slots(queue, error)
        else:
            yield _completion(chosen[0], error)
            if out_of_memory:  # the others may well fit
                self.slots = self._requested_slots
                self._max_tokens = self._requested_budget.tokens
                self._vision.max_pixels = self._requested_budget.pixels
                self._allocate()

    def _fill_slots(self, chosen: Sequence[Request], upcoming: Sequence[Request]) -> list[int]:
        """Prefill requests into the slots after the occupied ones; returns their first tokens."""
        longest = max(request.prompt.length for request in chosen)
        first = len(self._running)
        tokens = prefill(
            chosen,
            range(first, first + len(chosen)),
            runner=self._runner,
            vision=self._vision,
            upcoming=upcoming,
            step=self._step,
            capacity=max(self._capacity, longest + self.stop.max_new_tokens),
        )
        self._running += chosen
        return tokens

    def _decode(self, queue: RequestQueue) -> Iterator[Completion]:
        """Run one decode step for every occupied slot."""
        self._requeue_at_rope_switch(queue)
        if not self._running:
            return
        started = self._clock()
        occupied = len(self._running)
        kv_length = max(request.cached for request in self._running) + 1
        # The only wait for the device: a finished request is not in the next step.
        tokens, error = attempt(lambda: self._step.run(occupied, kv_length).tolist())
        if error is not None:
            if occupied == 1:
                yield _completion(self._running.pop(), error)
            elif is_out_of_memory(error):
                self._halve_slots(queue, error)
            else:
                self._isolate_all(queue)
            return
        self._share_time(self._running, started)
        for request in self._running:
            request.cached += 1
        yield from self._append_tokens(list(self._running), tokens)

    def _requeue_at_rope_switch(self, queue: RequestQueue) -> None:
        """Prefill requests again whose next token changes the rotary angles of all others."""
        length = self._runner.rope_switch_length
        if length is None:
            return
        for request in [request for request in self._running if request.cached == length]:
            self._free_slot(request)
            queue.requeue(request)

    def _share_time(self, requests: Sequence[Request], started: float) -> None:
        share = (self._clock() - started) / len(requests)
        for request in requests:
            request.seconds += share

    def _append_tokens(
        self, requests: Sequence[Request], tokens: Sequence[int]
    ) -> Iterator[Completion]:
        """Append a token to each request, and retire those that are finished."""
        finished: list[tuple[Request, Exception | None]] = []
        for request, token in zip(requests, tokens, strict=True):
            if token == NO_TOKEN:
                finished.append((request, SampleError(NOT_FINITE)))
                self._cache.clear_slot(self._running.index(request))
                continue
            request.tokens.append(token)
            if self.stop.met(request.tokens, request.prompt.length):
                finished.append((request, None))
        for request, _ in finished:
            self._free_slot(request)
        for request, error in finished:
            yield _completion(request, error)

    def _free_slot(self, request: Request) -> None:
        """Free a request's slot; the request in the last slot moves there, to leave no gap."""
        slot, last = self._running.index(request), len(self._running) - 1
        if slot != last:
            moved = self._running[last]
            self._cache.move(last, slot, moved.cached)
            self._step.move(last, slot)
            self._running[slot] = moved
        self._running.pop()

    def _isolate_all(self, queue: RequestQueue) -> None:
        """Continue with each request alone, to find the one that makes a decode step fail."""
        for request in reversed(self._running):
            request.isolated = True
            queue.requeue(request)
        self._running = []

    def _halve_slots(self, queue: RequestQueue, error: Exception) -> None:
        """Continue with half the slots. Nothing is lost: a request without a slot is prefilled
        again, with the tokens that it has generated."""
        self.slots = max(1, self.slots // 2)
        log.warning(
            "Out of memory; continuing with %d at a time: %s",
            self.slots,
            str(error).split("\n")[0],
        )
        for request in reversed(self._running):
            queue.requeue(request)
        self._running = []
        self._vision.clear()
        del self._cache, self._step
        release(self._runner.device)
        self._allocate()


def _completion(request: Request, error: Exception | None = None) -> Completion:
    return Completion(request.number, request.prompt, tuple(request.tokens), request.seconds, error)
