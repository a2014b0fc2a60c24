"""Requests, and which of them are prefilled next.

Prompts come from an iterator that may be endless: the queue takes only as many ahead as are needed
to choose from. Prompts of similar length are prefilled together, so that little of a batch is
padding; the request that has waited longest is always among them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from harness.engine.encoded_prompts import EncodedPrompt

LOOKAHEAD = 16
"""Prompts that are taken from the iterator beyond those that there are free slots for."""


@dataclass(slots=True, eq=False)
class Request:
    """One prompt, from waiting to its last token."""

    number: int
    """Its place among all prompts of the run."""
    prompt: EncodedPrompt
    tokens: list[int] = field(default_factory=list)
    """The tokens that it has generated."""
    seconds: float = 0.0
    """Its share of the time of all passes that it took part in."""
    cached: int = 0
    """Its tokens in the KV cache: the next one's keys are written at this position."""
    isolated: bool = False
    """It shares its batch with no other request: a batch that it was in has failed."""

    @property
    def prefill_input(self) -> EncodedPrompt:
        """The prompt and the tokens generated so far, where none of them is in the KV cache."""
        return self.prompt.with_tokens(self.tokens) if self.tokens else self.prompt

    @property
    def length(self) -> int:
        """Tokens of its prefill."""
        return self.prompt.length + len(self.tokens)


class RequestQueue:
    """The requests that have no slot yet.

    Args:
        prompts: (number, prompt), taken only when there is a slot for more.
        batch_key: prompts with different keys are never in one batch.
    """

    def __init__(
        self,
        prompts: Iterator[tuple[int, EncodedPrompt]],
        batch_key: Callable[[EncodedPrompt], Hashable],
    ) -> None:
        self._prompts = prompts
        self._key_of_prompt = batch_key
        self._waiting: list[Request] = []
        self._exhausted = False
        self.batch_key: Hashable = None
        """The key of the requests that have a slot."""

    def __bool__(self) -> bool:
        return bool(self._waiting) or not self._exhausted

    def fetch(self, slots: int) -> None:
        """Take as many prompts as that many free slots need, and LOOKAHEAD more."""
        while not self._exhausted and len(self._waiting) < slots + LOOKAHEAD:
            following = next(self._prompts, None)
            if following is None:
                self._exhausted = True
            else:
                self._waiting.append(Request(*following))

    def requeue(self, request: Request) -> None:
        """Put a request that has lost its slot first."""
        request.cached = 0
        self._waiting.insert(0, request)

    def upcoming(self, number: int) -> list[Request]:
        """So many of the requests that are likely to be prefilled next."""
        return [r for r in self._waiting if self._key_of(r) == self.batch_key][:number]

    def next_batch(self, slots: int, *, any_key: bool, max_tokens: int) -> list[Request]:
        """The requests to prefill together now, at most `slots`; none where none has the key of the
        running batch.

        Args:
            any_key: no request is running, so that the first one's key becomes that of the batch.
            max_tokens: of the batch, padding included; a single prompt may be longer.
        """
        if any_key and self._waiting:
            self.batch_key = self._key_of(self._waiting[0])
        eligible = [r for r in self._waiting if self._key_of(r) == self.batch_key]
        if not eligible:
            return []
        first = eligible[0]
        # The first, then those whose length is closest to its own; equals in their order.
        eligible.sort(key=lambda request: abs(request.length - first.length))
        chosen: list[Request] = []
        longest = 0
        for request in eligible[:slots]:
            longest = max(longest, request.length)
            if chosen and longest * (len(chosen) + 1) > max_tokens:
                break
            chosen.append(request)
        self._waiting = [request for request in self._waiting if request not in chosen]
        return chosen

    def _key_of(self, request: Request) -> Hashable:
        if request.isolated:
            return ("isolated", request.number)
        return self._key_of_prompt(request.prompt)
