"""The one loop that runs every model on every task.

It takes the samples batch by batch, or one by one where the model needs no batches, times what is
to be timed, and hands predictions on the moment they are there. A sample that cannot be used
becomes a prediction with an `error`; nothing else stops the loop but an interrupt, a full disk, or
a model that answers nothing.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from string import ascii_uppercase
from typing import Any, Self

from harness.core import structured
from harness.core.errors import NOT_FINITE, ContextError, Exit, HarnessError, SampleError, reason
from harness.core.types import (
    REFUSAL,
    Bounded,
    Decoding,
    ImageRef,
    Mode,
    Model,
    OptionForm,
    Output,
    Prediction,
    Prompt,
    Reading,
    Sample,
    Streaming,
    Style,
    Task,
    is_finished,
)
from harness.run.shuffling import order as shuffled
from harness.run.truncation import fit

log = logging.getLogger(__name__)

Clock = Callable[[], float]
CONCLUDED = "conclusion by log-likelihood"
"""The rule of answers that were not read but chosen: see `Asking.conclude`."""
OPTION_TOKENS = 64
"""Room that a shortened prompt leaves for options to be scored."""
GIVE_UP_AFTER = 8
"""Failures of the model in a row, before any success, that end a run: it is not the samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How questions are put."""

    style: Style
    mode: Mode = "generate"
    options: OptionForm = "letter"
    """What is scored in the mode loglikelihood: " B", or the option's own text."""
    shuffle: int | None = None
    """Seed of the order in which each question's options are asked; None: as the data has them."""
    examples: Callable[[Sample], tuple[str, ...]] = lambda _: ()
    """What is shown before a question: answered ones, as text."""
    truncate: bool = False
    """Shorten the context text of prompts beyond the model's context, which are errors else."""
    conclude: bool = False
    """Take the conclusion of a structured answer from the likelihood of the options behind its
    reasoning, in place of what the model wrote there."""


@dataclass(frozen=True, slots=True)
class Timed:
    """An output and the seconds it took."""

    output: Output
    preprocess_seconds: float
    generate_seconds: float
    truncated: int = 0
    """Tokens of the context text that were left out of the prompt."""


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
class _Asked:
    """A prompt as it is asked."""

    prompt: Prompt
    truncated: int = 0
    """Tokens of the context text that were left out."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """A batch that waits for the model."""

    prepared: Any
    """What the model's `prepare` made of those that have no error; None: of none."""
    errors: tuple[Failure | None, ...]
    """For each sample, why there is nothing to ask."""
    asked: tuple[_Asked, ...]
    """Those that have no error."""
    failure: Failure | None = None
    """Why `prepare` failed for all of these together, where it did."""

    def pin_memory(self) -> _Ready:
        """For DataLoader: the same, in memory that a GPU reads by itself."""
        if not isinstance(self.prepared, list):
            return self
        pinned = [one.pin_memory() if hasattr(one, "pin_memory") else one for one in self.prepared]
        return replace(self, prepared=pinned)


def batches(
    samples: Sequence[Sample], batch_size: int, done: Iterable[str]
) -> Iterator[Sequence[Sample]]:
    """The batches in which at least one sample is still to be answered, whole.

    A batch is always cut from all samples, and repeated whole where an interrupt left it half
    written: so a resumed run makes the same batches, and the same answers, as an uninterrupted one.
    """
    done = frozenset(done)
    for start in range(0, len(samples), batch_size):
        batch = samples[start : start + batch_size]
        if any(sample.id not in done for sample in batch):
            yield batch


class Runner:
    """Answers batches of samples with one model.

    Args:
        digests: sample id -> sha256 of its images' bytes, kept in the predictions; a picture that
            is another when it is asked is an error of its sample.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        model: Model,
        task: Task,
        *,
        asking: Asking,
        decoding: Decoding,
        digests: Mapping[str, tuple[str, ...]],
        clock: Clock = time.perf_counter,
    ) -> None:
        self._model = model
        self._task = task
        self._asking = asking
        self._decoding = decoding
        self._digests = digests
        self._clock = clock
        self._failures = 0
        self._successes = 0
        self._fits: int | None = None  # samples of a batch that went through once memory ran out

    @property
    def streams(self) -> bool:
        """Whether answers come one by one, whatever the batch: then no batch is repeated."""
        greedy = self._asking.mode == "generate" and not self._decoding.temperature
        return greedy and isinstance(self._model, Streaming)

    @property
    def works(self) -> bool:
        """Whether anything was answered, be it to warm up."""
        return self._successes > 0

    def size(self, batch: Sequence[Sample]) -> int | None:
        """How many samples fit into memory at once, going by these; None where the model cannot
        say, or none of these can be asked."""
        if not self.streams:
            return None
        ready = self._ready(batch)
        if not ready.prepared:
            return None
        assert isinstance(self._model, Streaming)
        return self._model.slots_that_fit(ready.prepared, self._decoding)

    @property
    def rows(self) -> int | None:
        """Samples at once that memory allowed in the end; None where nothing was in its way."""
        if self.streams:
            assert isinstance(self._model, Streaming)
            return self._model.slots
        return self._fits

    def warm_up(self, batch: Sequence[Sample]) -> float:
        """Run a batch for a few tokens, unrecorded; returns the seconds it took."""
        started = self._clock()
        decoding = replace(self._decoding, max_new_tokens=min(4, self._decoding.max_new_tokens))
        answers = self._answer(batch, decoding)
        self._failures = 0  # those samples are asked again, and counted then
        failed = [answer.reason for answer in answers if isinstance(answer, Failure)]
        if answers and len(failed) == len(answers):
            log.warning("No answer while warming up: %s", failed[0][:300])
        return self._clock() - started

    def answers(
        self,
        pending: Iterable[Sequence[Sample]],
        *,
        rows: int,
        done: Container[str] = frozenset(),
        workers: int = 0,
        among: Sequence[Sample] = (),
    ) -> Iterator[list[Prediction]]:
        """Predictions for those samples of the batches that are not `done`, some at a time.

        Batches are taken when there is room for them, and no sooner.

        Args:
            rows: how many samples are answered at once where the model needs no batches.
            workers: processes that prepare ahead; see `harness.engine.prefetch`.
            among: with workers, all samples that `pending` may hold.
        """
        if self.streams:
            left = ([s] for batch in pending for s in batch if s.id not in done)
            yield from self._stream(self._ahead(left, among, workers), rows)
            return
        for batch, ready, waited in self._ahead(pending, among, workers):
            predictions = self._answer_ready(batch, ready, waited)
            yield [p for p in predictions if p.sample_id not in done]

    def answer(self, batch: Sequence[Sample]) -> list[Prediction]:
        """One prediction for each sample, in order."""
        started = self._clock()
        ready = self._ready(batch)
        return self._answer_ready(batch, ready, self._clock() - started)

    def _ahead(
        self, pending: Iterable[Sequence[Sample]], among: Sequence[Sample], workers: int
    ) -> Iterator[tuple[Sequence[Sample], _Ready, float]]:
        """Each batch, ready for the model, and the seconds that were waited for that."""
        pending = iter(pending)
        if not workers:
            for batch in pending:
                started = self._clock()
                ready = self._ready(batch)
                yield batch, ready, self._clock() - started
            return
        from harness.engine.prefetch import ahead

        places = {sample.id: place for place, sample in enumerate(among)}
        numbers = ([places[sample.id] for sample in batch] for batch in pending)
        made = ahead(
            lambda chosen: (chosen, self._ready([among[place] for place in chosen])),
            numbers,
            workers=workers,
        )
        while True:
            started = self._clock()
            following = next(made, None)
            if following is None:
                return
            chosen, ready = following
            yield [among[place] for place in chosen], ready, self._clock() - started

    def _stream(
        self, made: Iterator[tuple[Sequence[Sample], _Ready, float]], rows: int
    ) -> Iterator[list[Prediction]]:
        """Answers one by one. Where their conclusions are chosen, as many at once as are answered
        at once."""
        asked: dict[int, tuple[Sample, float, int]] = {}
        broken: list[Prediction] = []

        def prepared() -> Iterator[tuple[int, Any]]:
            for number, ((sample,), ready, waited) in enumerate(made):
                failure = ready.errors[0] or ready.failure
                if failure is None:
                    asked[number] = sample, waited, ready.asked[0].truncated
                    yield number, ready.prepared
                else:
                    broken.append(self._prediction(sample, self._failed(failure)))

        assert isinstance(self._model, Streaming)
        finished: list[tuple[Sample, Timed]] = []
        for one in self._model.stream(prepared(), self._decoding, slots=rows, clock=self._clock):
            sample, waited, truncated = asked.pop(one.number)
            timed = self._counted(Timed(one.output, waited, one.seconds, truncated))
            if isinstance(timed, Failure):
                broken.append(self._prediction(sample, timed))
            else:
                finished.append((sample, timed))
            if len(finished) >= (rows if self._asking.conclude else 1):
                yield [*broken, *self._concluded_all(finished)]
                broken.clear()
                finished.clear()
        if broken or finished:
            yield [*broken, *self._concluded_all(finished)]

    def _concluded_all(self, finished: Sequence[tuple[Sample, Timed]]) -> list[Prediction]:
        if self._asking.conclude and finished:
            started = self._clock()
            outputs = self._concluded(finished)
            share = (self._clock() - started) / len(finished)
            finished = [
                (sample, replace(timed, output=o, generate_seconds=timed.generate_seconds + share))
                for (sample, timed), o in zip(finished, outputs, strict=True)
            ]
        return [self._prediction(sample, timed) for sample, timed in finished]

    def _ready(self, batch: Sequence[Sample]) -> _Ready:
        """What comes before the model: pictures, templates, tokens, pixels. In any process."""
        asked: list[_Asked | Failure] = [
            prompt if isinstance(prompt, Failure) else _Asked(prompt)
            for prompt in map(self._prompt, batch)
        ]
        try:
            return self._prepared(asked)
        except HarnessError:
            raise  # it is not about these samples
        except Exception:  # noqa: BLE001  # here a bad sample becomes an error row
            asked = [self._alone(sample, one) for sample, one in zip(batch, asked, strict=True)]
        try:
            return self._prepared(asked)
        except HarnessError:
            raise
        except Exception as error:  # noqa: BLE001  # all of them together are too many, say
            return replace(_ready_of(asked), failure=Failure.of(error))

    def _prepared(self, asked: Sequence[_Asked | Failure]) -> _Ready:
        ready = _ready_of(asked)
        prompts = [one.prompt for one in ready.asked]
        return replace(ready, prepared=self._model.prepare(prompts)) if prompts else ready

    def _alone(self, sample: Sample, asked: _Asked | Failure) -> _Asked | Failure:
        """The same, or why this one cannot be asked; shortened, where that is wanted and helps."""
        if isinstance(asked, Failure):
            return asked
        try:
            self._model.prepare([asked.prompt])
        except HarnessError:
            raise
        except ContextError as error:
            return self._shortened(sample, error) if self._asking.truncate else Failure.of(error)
        except Exception as error:  # noqa: BLE001  # here a bad sample becomes an error row
            return Failure.of(error)
        return asked

    def _shortened(self, sample: Sample, error: ContextError) -> _Asked | Failure:
        """The question with a shorter context text, and room for an answer behind it."""
        model, limit = self._model, error.context
        assert isinstance(model, Bounded)
        if not sample.context:
            return Failure(f"{error}; it has no context text to shorten")

        def worded(text: str) -> Prompt:
            prompt = self._prompt(replace(sample, context=text))
            if isinstance(prompt, Failure):
                raise SampleError(prompt.reason)
            return prompt

        scored = self._asking.mode == "loglikelihood"
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
        return _Asked(prompt, error.tokens - tokens)

    def _answer_ready(
        self, batch: Sequence[Sample], ready: _Ready, waited: float
    ) -> list[Prediction]:
        """Predictions of a batch, in order; what was waited for it is its preprocessing."""
        seed = sha256(f"{self._decoding.seed}\0{batch[0].id}".encode()).digest()
        decoding = replace(self._decoding, seed=int.from_bytes(seed[:4], "big"))
        answers = self._answer(batch, decoding, ready)
        share = waited / max(1, sum(error is None for error in ready.errors))
        finished = [
            (sample, replace(answer, preprocess_seconds=answer.preprocess_seconds + share))
            for sample, answer in zip(batch, answers, strict=True)
            if isinstance(answer, Timed)
        ]
        made = iter(self._concluded_all(finished))
        return [
            self._prediction(sample, answer) if isinstance(answer, Failure) else next(made)
            for sample, answer in zip(batch, answers, strict=True)
        ]

    def _prompt(self, sample: Sample) -> Prompt | Failure:
        """The prompt, or why there is none."""
        order = self._order(sample)
        images = self._expected(sample)
        asked = replace(sample, choices=tuple(sample.choices[i] for i in order), images=images)
        if sample.pictured_choices:
            first = len(images) - len(order)
            pictures = [images[first + i] for i in order]
            asked = replace(asked, images=(*images[:first], *pictures))
        try:
            prompt = self._task.prompt(asked, self._asking.style)
        except SampleError as error:
            return Failure.of(error)
        most = self._model.max_images
        if most is not None and len(prompt.images) > most:
            return Failure(f"{len(prompt.images)} pictures, and the model takes {most} at a time")
        return replace(prompt, examples=self._asking.examples(sample))

    def _expected(self, sample: Sample) -> tuple[ImageRef, ...]:
        """The sample's pictures, each of which must be the one that the run's data were hashed
        with."""
        digests = self._digests.get(sample.id)
        if digests is None:
            return sample.images
        return tuple(i.expecting(d) for i, d in zip(sample.images, digests, strict=True))

    def _order(self, sample: Sample) -> tuple[int, ...]:
        """The places of the options in the order in which they are asked."""
        if self._asking.shuffle is None:
            return tuple(range(len(sample.choices)))
        return shuffled(sample.choices, seed=self._asking.shuffle, sample_id=sample.id)

    def _answer(
        self, batch: Sequence[Sample], decoding: Decoding, ready: _Ready | None = None
    ) -> list[Timed | Failure]:
        """An output or a reason for each sample."""
        if self._fits is not None and len(batch) > self._fits:
            pieces = range(0, len(batch), self._fits)
            return [
                answer
                for start in pieces
                for answer in self._answer(batch[start : start + self._fits], decoding)
            ]
        started = self._clock()
        if ready is None:
            ready = self._ready(batch)
        samples = _without(batch, ready.errors)
        waited = (self._clock() - started) / max(1, len(samples))
        answers = iter(self._asked(samples, decoding, ready, waited) if samples else ())
        return [next(answers) if error is None else self._failed(error) for error in ready.errors]

    def _asked(
        self, samples: Sequence[Sample], decoding: Decoding, ready: _Ready, waited: float
    ) -> list[Timed | Failure]:
        """An output or a reason for each of the samples that can be asked. A batch that fails is
        halved until the sample that does it, or the size that fits into memory, is found."""
        failure = ready.failure
        if failure is None:
            try:
                answers = self._run(len(samples), decoding, ready)
            except HarnessError:
                raise  # it is not about these samples
            except Exception as error:  # noqa: BLE001  # here a bad sample becomes an error row
                failure = Failure.of(error)
                if _is_out_of_memory(error):  # of a single sample: it is not their number
                    self._fits = (len(samples) + 1) // 2 if len(samples) > 1 else None
            else:
                return [
                    self._counted(
                        replace(answer, preprocess_seconds=waited, truncated=one.truncated)
                    )
                    for answer, one in zip(answers, ready.asked, strict=True)
                ]
        if len(samples) == 1:
            return [self._failed(failure)]
        log.warning("A batch of %d failed and is halved: %s", len(samples), failure.reason[:300])
        _free_memory()
        middle = len(samples) // 2
        first = self._answer(samples[:middle], decoding)
        return first + self._answer(samples[middle:], decoding)

    def _counted(self, answer: Timed) -> Timed | Failure:
        """The answer, or why there is none."""
        if error := answer.output.error:
            return self._failed(Failure(error, ours=error == NOT_FINITE))
        self._successes += 1
        return answer

    def _failed(self, failure: Failure) -> Failure:
        """The same, counted if it is the model's."""
        if failure.ours:
            return failure
        self._failures += 1
        if not self._successes and self._failures >= GIVE_UP_AFTER:
            raise HarnessError(
                f"The model failed on each of the first {self._failures} samples.",
                known=failure.reason[:1000],
                remedy="What was answered before is kept; the same command tries again.",
                code=Exit.UNEXPECTED,
            )
        return failure

    def _run(self, number: int, decoding: Decoding, ready: _Ready) -> list[Timed]:
        started = self._clock()
        if self._asking.mode == "loglikelihood":
            choices = [one.prompt.choices for one in ready.asked]
            outputs = self._model.choose(ready.prepared, self._options(choices))
        else:
            outputs = self._model.generate(ready.prepared, decoding)
        share = (self._clock() - started) / number
        if len(outputs) != number:
            raise ValueError(f"{len(outputs)} outputs for {number} prompts")
        return [Timed(output, 0.0, share) for output in outputs]

    def _concluded(self, finished: Sequence[tuple[Sample, Timed]]) -> list[Output]:
        """The outputs, those that reason with the option that is likeliest behind the reasoning."""
        made = [timed.output for _, timed in finished]
        begun = {}
        for i, (sample, timed) in enumerate(finished):
            raw = timed.output.raw
            prompt = self._prompt(sample) if structured.parse(raw).reasoning else None
            if isinstance(prompt, Prompt) and timed.truncated:
                shorter = self._alone(sample, _Asked(prompt))
                prompt = shorter.prompt if isinstance(shorter, _Asked) else None
            if isinstance(prompt, Prompt):
                begun[i] = replace(prompt, begun=structured.up_to_conclusion(raw))
        choices = self._chosen(list(begun.values())) if begun else []
        for i, choice in zip(begun, choices, strict=True):
            made[i] = replace(
                made[i], scores=choice.scores, concluded=choice.raw, error=choice.error
            )
        return made

    def _chosen(self, prompts: Sequence[Prompt]) -> list[Output]:
        """The likeliest option of each prompt; a batch that fails is halved."""
        try:
            options = self._options([prompt.choices for prompt in prompts])
            return self._model.choose(self._model.prepare(prompts), options)
        except HarnessError:
            raise  # it is not about these samples
        except Exception as error:  # noqa: BLE001  # here a bad sample becomes an error row
            if len(prompts) == 1:
                return [Output("", "", None, None, error=reason(error))]
        _free_memory()
        middle = len(prompts) // 2
        return self._chosen(prompts[:middle]) + self._chosen(prompts[middle:])

    def _options(self, choices: Sequence[Sequence[str]]) -> list[Sequence[str]]:
        """What is scored for each prompt with such choices."""
        if self._asking.options == "text":
            return list(choices)
        return [ascii_uppercase[: len(each)] for each in choices]

    def _prediction(self, sample: Sample, result: Timed | Failure) -> Prediction:
        common = Prediction(
            sample_id=sample.id,
            raw="",
            answer=None,
            rule="failed",
            correct=None,
            target=sample.target,
            question=sample.question,
            choices=sample.choices,
            topic=sample.topic,
            images=self._digests.get(sample.id, ()),
        )
        if isinstance(result, Failure):
            return replace(common, error=result.reason)
        output = result.output
        if output.error:  # its conclusion could not be chosen
            return replace(common, error=output.error)
        order = self._order(sample)
        finished = is_finished(output.finish)
        if output.concluded:  # nothing in the raw text says it
            reading = read_asked(self._task.read, output.concluded, sample.choices, order)
            reading = Reading(reading.answer, CONCLUDED)
        else:
            reading = read_asked(
                self._task.read, output.raw, sample.choices, order, finished=finished
            )
        if output.finish == REFUSAL:
            reading = Reading(None, REFUSAL)
        return replace(
            common,
            raw=output.raw,
            answer=reading.answer,
            rule=reading.rule,
            correct=reading.answer == sample.target if sample.choices else None,
            prompt=output.prompt,
            seconds=result.preprocess_seconds + result.generate_seconds,
            preprocess_seconds=result.preprocess_seconds,
            tokens=output.tokens,
            tokens_in=output.tokens_in,
            truncated=result.truncated + output.truncated,
            latency=output.latency,
            finish=output.finish,
            span=reading.span,
            order=order if self._asking.shuffle is not None else (),
            scores=tuple(output.scores[order.index(i)] for i in range(len(output.scores))),
        )


def read_asked(
    read: Callable[..., Reading],
    raw: str,
    choices: Sequence[str],
    order: Sequence[int] = (),
    *,
    finished: bool | None = None,
) -> Reading:
    """The reading of `raw` where the i-th option asked was choices[order[i]], as an index into
    `choices`. An empty order: they were asked as they are.

    Args:
        read: as `Task.read`.
        finished: see `harness.core.types.is_finished`; given to a `read` that has such a parameter.
    """
    asked = [choices[i] for i in order] if order else choices
    told = {"finished": finished} if _takes_finished(read) else {}
    reading = read(raw, asked, **told)
    if order and isinstance(reading.answer, int):
        return replace(reading, answer=order[reading.answer])
    return reading


@cache
def _takes_finished(read: Callable[..., Reading]) -> bool:
    """Whether `read` has a parameter `finished`; that of a user's own task need not."""
    try:
        parameters = inspect.signature(read).parameters.values()
    except (TypeError, ValueError):  # some of the interpreter's own functions have no signature
        return False
    return any(p.name == "finished" or p.kind is p.VAR_KEYWORD for p in parameters)


def _ready_of(asked: Sequence[_Asked | Failure]) -> _Ready:
    """The batch with nothing prepared yet."""
    errors = tuple(one if isinstance(one, Failure) else None for one in asked)
    return _Ready(None, errors, tuple(one for one in asked if isinstance(one, _Asked)))


def _without(batch: Sequence[Sample], errors: Sequence[Failure | None]) -> list[Sample]:
    """The samples that have no error."""
    return [sample for sample, error in zip(batch, errors, strict=True) if error is None]


def _is_out_of_memory(error: Exception) -> bool:
    from harness.engine.memory import is_out_of_memory

    return is_out_of_memory(error)


def _free_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
