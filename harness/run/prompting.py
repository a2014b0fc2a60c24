"""From samples to what a model takes: the prompt of each question, and batches of prompts, ready.

Everything here comes before the model is called and may run in another process. A sample that
cannot be asked gets a `Failure` in place of a `Request`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from harness.core.abilities import BoundedModel
from harness.core.errors import ContextError, HarnessError, SampleError, reason
from harness.core.images import ImageRef
from harness.core.types import Decoding, Mode, Model, OptionForm, Prompt, Sample, Style, Task
from harness.run import shuffling
from harness.run.truncation import fit

OPTION_TOKENS = 64
"""Tokens that a shortened prompt leaves free for options to be scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSettings:
    """How questions are put to a model."""

    style: Style
    mode: Mode = "generate"
    options: OptionForm = "letter"
    """What the mode loglikelihood scores: " B", or the option's own text."""
    shuffle: int | None = None
    """Seed of the order in which each question's options are asked; None: as the data has them."""
    examples: Callable[[Sample], tuple[str, ...]] = lambda _: ()
    """What is shown before a question: answered ones, as text."""
    truncate: bool = False
    """Shorten the context text of prompts beyond the model's context, which are errors else."""
    conclude: bool = False
    """Take the conclusion of a structured answer from the likelihood of the options after its
    reasoning, in place of what the model wrote there."""
    votes: int = 1
    """Answers that are sampled for each question; the one that most of them give counts."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a sample has no answer."""

    reason: str
    ours: bool = True
    """It is the data's, and says nothing of whether the model works."""

    @classmethod
    def of(cls, error: Exception) -> Self:
        return cls(reason(error), ours=isinstance(error, SampleError))


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt as it is asked."""

    prompt: Prompt
    truncated: int = 0
    """Tokens of the context text that were left out."""


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """A batch that waits for the model."""

    prepared: Any
    """What the model's `prepare` made of the requests; None: there are none."""
    errors: tuple[Failure | None, ...]
    """For each sample, why there is nothing to ask."""
    requests: tuple[Request, ...]
    """Of the samples that have no error."""
    failure: Failure | None = None
    """Why `prepare` failed for all of these together, where it did."""

    @classmethod
    def of(cls, requests: Sequence[Request | Failure]) -> Self:
        """The batch with nothing prepared yet."""
        errors = tuple(each if isinstance(each, Failure) else None for each in requests)
        return cls(None, errors, tuple(each for each in requests if isinstance(each, Request)))

    def pin_memory(self) -> PreparedBatch:
        """For DataLoader: the same, in memory that a GPU reads by itself."""
        if not isinstance(self.prepared, list):
            return self
        pinned = [one.pin_memory() if hasattr(one, "pin_memory") else one for one in self.prepared]
        return replace(self, prepared=pinned)

    def without_errors(self, samples: Sequence[Sample]) -> list[Sample]:
        """Those of the batch's samples that have a request."""
        return [s for s, error in zip(samples, self.errors, strict=True) if error is None]


class Prompter:
    """Makes the prompts of one task for one model.

    Args:
        digests: sample id -> sha256 of its images' bytes; a picture that is another when it is
            asked is an error of its sample.
    """

    def __init__(
        self,
        model: Model,
        task: Task,
        *,
        settings: PromptSettings,
        decoding: Decoding,
        digests: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.settings = settings
        self._model = model
        self._task = task
        self._decoding = decoding
        self._digests = digests

    def order(self, sample: Sample) -> tuple[int, ...]:
        """The places of the options in the order in which they are asked."""
        if self.settings.shuffle is None:
            return tuple(range(len(sample.choices)))
        return shuffling.order(sample.choices, seed=self.settings.shuffle, sample_id=sample.id)

    def prompt(self, sample: Sample) -> Prompt | Failure:
        """The prompt, or why there is none."""
        images = self._expected(sample)
        asked = shuffling.reorder(replace(sample, images=images), self.order(sample))
        try:
            prompt = self._task.prompt(asked, self.settings.style)
        except SampleError as error:
            return Failure.of(error)
        most = self._model.max_images
        if most is not None and len(prompt.images) > most:
            return Failure(f"{len(prompt.images)} pictures, and the model takes {most} at a time")
        return replace(prompt, examples=self.settings.examples(sample))

    def prepare(self, batch: Sequence[Sample]) -> PreparedBatch:
        """Pictures, templates, tokens and pixels of a batch; a sample that fails alone is apart."""
        requests: list[Request | Failure] = [
            prompt if isinstance(prompt, Failure) else Request(prompt)
            for prompt in map(self.prompt, batch)
        ]
        try:
            return self._prepare(requests)
        except HarnessError:
            raise  # it is not about these samples
        except Exception:  # noqa: BLE001  # here a bad sample becomes an error row
            requests = [self.check(s, each) for s, each in zip(batch, requests, strict=True)]
        try:
            return self._prepare(requests)
        except HarnessError:
            raise
        except Exception as error:  # noqa: BLE001  # all of them together are too many, say
            return replace(PreparedBatch.of(requests), failure=Failure.of(error))

    def _prepare(self, requests: Sequence[Request | Failure]) -> PreparedBatch:
        batch = PreparedBatch.of(requests)
        prompts = [request.prompt for request in batch.requests]
        return replace(batch, prepared=self._model.prepare(prompts)) if prompts else batch

    def check(self, sample: Sample, request: Request | Failure) -> Request | Failure:
        """The same, or why this one cannot be asked; shortened, where that is wanted and helps."""
        if isinstance(request, Failure):
            return request
        try:
            self._model.prepare([request.prompt])
        except HarnessError:
            raise
        except ContextError as error:
            return self._shorten(sample, error) if self.settings.truncate else Failure.of(error)
        except Exception as error:  # noqa: BLE001  # here a bad sample becomes an error row
            return Failure.of(error)
        return request

    def _shorten(self, sample: Sample, error: ContextError) -> Request | Failure:
        """The question with a shorter context text, and tokens left for an answer after it."""
        model, limit = self._model, error.context
        assert isinstance(model, BoundedModel)
        if not sample.context:
            return Failure(f"{error}; it has no context text to shorten")

        def worded(text: str) -> Prompt:
            prompt = self.prompt(replace(sample, context=text))
            if isinstance(prompt, Failure):
                raise SampleError(prompt.reason)
            return prompt

        scored = self.settings.mode == "loglikelihood"
        wanted = OPTION_TOKENS if scored else self._decoding.max_new_tokens
        try:
            prompt, tokens = fit(
                worded,
                sample.context,
                count=model.count,
                whole=error.tokens,
                aim=limit - min(wanted, limit // 2),
            )
        except SampleError as failed:
            return Failure.of(failed)
        if tokens > limit:
            return Failure(f"{error}; {tokens:,} without its context text")
        return Request(prompt, error.tokens - tokens)

    def _expected(self, sample: Sample) -> tuple[ImageRef, ...]:
        """The sample's pictures, each of which must be the one that the run's data were hashed
        with."""
        digests = self._digests.get(sample.id)
        if digests is None:
            return sample.images
        return tuple(i.expecting(d) for i, d in zip(sample.images, digests, strict=True))


def prepare_ahead(
    prepare: Callable[[Sequence[Sample]], PreparedBatch],
    pending: Iterator[Sequence[Sample]],
    *,
    among: Sequence[Sample],
    workers: int,
    clock: Callable[[], float],
) -> Iterator[tuple[Sequence[Sample], PreparedBatch, float]]:
    """Each batch, ready for the model, and the seconds that were waited for that.

    Args:
        workers: processes that prepare ahead, see `harness.engine.prefetch`; 0: this one prepares
            each batch when it is asked for.
        among: with workers, all samples that `pending` may hold.
    """
    if not workers:
        for batch in pending:
            started = clock()
            ready = prepare(batch)
            yield batch, ready, clock() - started
        return
    from harness.engine.prefetch import ahead

    places = {sample.id: place for place, sample in enumerate(among)}
    numbers = ([places[sample.id] for sample in batch] for batch in pending)
    made = ahead(
        lambda chosen: (chosen, prepare([among[place] for place in chosen])),
        numbers,
        workers=workers,
    )
    while True:
        started = clock()
        following = next(made, None)
        if following is None:
            return
        chosen, ready = following
        yield [among[place] for place in chosen], ready, clock() - started
