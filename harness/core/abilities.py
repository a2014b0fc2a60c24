"""What a model may offer in addition to `harness.core.types.Model`; a run asks which it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from harness.core.types import Decoding, Output, Prompt


@dataclass(frozen=True, slots=True)
class TimedOutput:
    """One answer of a stream."""

    number: int
    """Which prompt it is to."""
    output: Output
    seconds: float
    """Its share of the time that the model worked: the shares of all answers add up to it."""


@runtime_checkable
class TemplatedModel(Protocol):
    """A model that words its prompts by a template."""

    @property
    def rendering(self) -> Mapping[str, str | None]:
        """template: a hash of what it makes of a question with a picture and of one without;
        template_rule: how it was chosen or changed, None where it is the checkpoint's as it is."""

    @property
    def template_origin(self) -> str:
        """Whose template it is, in words: "the checkpoint's own"."""


@runtime_checkable
class BoundedModel(Protocol):
    """A model that refuses prompts beyond its context, with a ContextError from `prepare`."""

    @property
    def context(self) -> int | None:
        """Tokens that a prompt may have; None: it is not known."""

    def count(self, prompt: Prompt) -> int:
        """The tokens of a prompt, those of its pictures included."""


@runtime_checkable
class StreamingModel(Protocol):
    """A model that takes the next prompt as soon as an answer is finished, batches or not."""

    @property
    def slots(self) -> int:
        """Slots that the last stream ended with: fewer than asked for where memory ran out."""

    def slots_that_fit(self, prepared: Any, decoding: Decoding) -> int:
        """How many slots fit into the memory that is free, going by what `prepare` made of some
        prompts and, on an accelerator, by trying."""

    def stream(
        self,
        prepared: Iterator[tuple[int, Any]],
        decoding: Decoding,
        *,
        slots: int,
        clock: Callable[[], float],
    ) -> Iterator[TimedOutput]:
        """The greedy answers to (number, what `prepare` made of one prompt), in any order; `slots`
        prompts at most are decoded at once, and a few more have been taken."""
