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
from typing import Any

from harness import structured
from harness.errors import Exit, HarnessError, SampleError
from harness.shuffling import order as shuffled
from harness.types import (
    REFUSAL,
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

log = logging.getLogger(__name__)

Clock = Callable[[], float]
CONCLUDED = "conclusion by log-likelihood"
"""The rule of answers that were not read but chosen: see `Asking.conclude`."""
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
    conclude: bool = False
    """Take the conclusion of a structured answer from the likelihood of the options behind its
    reasoning, in place of what the model wrote there."""


@dataclass(frozen=True, slots=True)
class Timed:
    """An output and the seconds it took."""

    output: Output
    preprocess_seconds: float
    generate_seconds: float


@dataclass(frozen=True, slots=True)
class _Ready:
    """A batch that waits for the model."""

    prepared: Any
    """What the model's `prepare` made of those that have no error; None: of none."""
    errors: tuple[str | None, ...]
    """For each sample, why there is nothing to ask."""
    choices: tuple[tuple[str, ...], ...]
    """Of those that have no error, as they are asked."""
    failure: str | None = None
    """Why `prepare` failed, where it did."""
    ours: bool = False
    """Whether that failure is the data's and not the model's."""

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

    def size(self, batch: Sequence[Sample]) -> int | None:
        """How many samples fit into memory at once, going by these; None where the model cannot
        say, or none of these can be asked."""
        if not self.streams:
            return None
        ready = self._ready(batch)
        if not ready.prepared:
            return None
        assert isinstance(self._model, Streaming)
        return self._model.size(ready.prepared, self._decoding)

    @property
    def rows(self) -> int | None:
        """Samples at once that memory allowed in the end; None where nothing was in its way."""
        if self.streams:
            assert isinstance(self._model, Streaming)
            return self._model.rows
        return self._fits

    def warm_up(self, batch: Sequence[Sample]) -> float:
        """Run a batch for a few tokens, unrecorded; returns the seconds it took."""
        started = self._clock()
        ready = self._ready(batch)
        samples = _without(batch, ready.errors)
        if samples:
            decoding = replace(self._decoding, max_new_tokens=min(4, self._decoding.max_new_tokens))
            self._answer(samples, decoding, ready)
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
        asked: dict[int, tuple[Sample, float]] = {}
        broken: list[Prediction] = []

        def prepared() -> Iterator[tuple[int, Any]]:
            for number, ((sample,), ready, waited) in enumerate(made):
                reason = ready.errors[0] or ready.failure
                if reason is None:
                    asked[number] = sample, waited
                    yield number, ready.prepared
                    continue
                if ready.failure and not ready.ours:
                    self._count_failure(reason)
                broken.append(self._prediction(sample, reason))

        assert isinstance(self._model, Streaming)
        finished: list[tuple[Sample, Timed]] = []
        for one in self._model.stream(prepared(), self._decoding, rows=rows, clock=self._clock):
            sample, waited = asked.pop(one.number)
            timed = self._counted(Timed(one.output, waited, one.seconds))
            if isinstance(timed, str):
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
        samples = [sample for sample, _ in finished]
        if self._asking.conclude and finished:
            started = self._clock()
            outputs = self._concluded(samples, [timed.output for _, timed in finished])
            share = (self._clock() - started) / len(finished)
            finished = [
                (sample, replace(timed, output=o, generate_seconds=timed.generate_seconds + share))
                for (sample, timed), o in zip(finished, outputs, strict=True)
            ]
        return [self._prediction(sample, timed) for sample, timed in finished]

    def _ready(self, batch: Sequence[Sample]) -> _Ready:
        """What comes before the model: pictures, templates, tokens, pixels. In any process."""
        asked = [self._prompt(sample) for sample in batch]
        prompts = [prompt for prompt in asked if isinstance(prompt, Prompt)]
        errors = tuple(None if isinstance(prompt, Prompt) else prompt for prompt in asked)
        choices = tuple(prompt.choices for prompt in prompts)
        try:
            prepared = self._model.prepare(prompts) if prompts else None
        except HarnessError:
            raise  # it is not about these samples
        except Exception as error:  # noqa: BLE001  # here a bad sample becomes an error row
            ours = isinstance(error, SampleError)
            return _Ready(None, errors, choices, _reason(error), ours)
        return _Ready(prepared, errors, choices)

    def _answer_ready(
        self, batch: Sequence[Sample], ready: _Ready, waited: float
    ) -> list[Prediction]:
        """Predictions of a batch, in order; what was waited for it is its preprocessing."""
        seed = sha256(f"{self._decoding.seed}\0{batch[0].id}".encode()).digest()
        decoding = replace(self._decoding, seed=int.from_bytes(seed[:4], "big"))
        samples = _without(batch, ready.errors)
        answers = iter(self._answer(samples, decoding, ready))
        predictions = []
        for sample, error in zip(batch, ready.errors, strict=True):
            result = next(answers) if error is None else error
            if isinstance(result, Timed):
                before = result.preprocess_seconds + waited / len(samples)
                result = replace(result, preprocess_seconds=before)
            predictions.append(self._prediction(sample, result))
        return predictions

    def _prompt(self, sample: Sample) -> Prompt | str:
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
            return str(error)
        most = self._model.most_images
        if most is not None and len(prompt.images) > most:
            return f"{len(prompt.images)} pictures, and the model takes {most} at a time"
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
        self, samples: Sequence[Sample], decoding: Decoding, ready: _Ready | None = None
    ) -> list[Timed | str]:
        """An output or a reason for each sample. A batch that fails is halved until the sample
        that does it, or the size that fits into memory, is found."""
        if not samples:
            return []
        if self._fits is not None and len(samples) > self._fits:
            pieces = range(0, len(samples), self._fits)
            return [
                answer
                for start in pieces
                for answer in self._answer(samples[start : start + self._fits], decoding)
            ]
        started = self._clock()
        if ready is None:
            ready = self._ready(samples)
        waited = (self._clock() - started) / len(samples)
        reason, ours = ready.failure, ready.ours
        if reason is None:
            try:
                answers = self._run(samples, decoding, ready)
            except HarnessError:
                raise  # it is not about these samples
            except Exception as error:  # noqa: BLE001  # here a bad sample becomes an error row
                reason, ours = _reason(error), isinstance(error, SampleError)
                if _is_out_of_memory(error):  # of a single sample: it is not their number
                    self._fits = (len(samples) + 1) // 2 if len(samples) > 1 else None
            else:
                again = [replace(answer, preprocess_seconds=waited) for answer in answers]
                return [self._counted(answer) for answer in again]
        if len(samples) > 1:
            log.warning("A batch of %d failed and is halved: %s", len(samples), reason[:300])
            _free_memory()
            middle = len(samples) // 2
            first = self._answer(samples[:middle], decoding)
            return first + self._answer(samples[middle:], decoding)
        if not ours:
            self._count_failure(reason)
        return [reason]

    def _counted(self, answer: Timed) -> Timed | str:
        """The answer, or why there is none."""
        if answer.output.error:
            self._count_failure(answer.output.error)
            return answer.output.error
        self._successes += 1
        return answer

    def _count_failure(self, reason: str) -> None:
        self._failures += 1
        if not self._successes and self._failures >= GIVE_UP_AFTER:
            raise HarnessError(
                f"The model failed on each of the first {self._failures} samples.",
                known=reason[:1000],
                remedy="What was answered before is kept; the same command tries again.",
                code=Exit.UNEXPECTED,
            )

    def _run(self, samples: Sequence[Sample], decoding: Decoding, ready: _Ready) -> list[Timed]:
        started = self._clock()
        if self._asking.mode == "loglikelihood":
            outputs = self._model.choose(ready.prepared, self._options(ready.choices))
        else:
            outputs = self._model.generate(ready.prepared, decoding)
            if self._asking.conclude:
                outputs = self._concluded(samples, outputs)
        share = (self._clock() - started) / len(samples)
        if len(outputs) != len(samples):
            raise ValueError(f"{len(outputs)} outputs for {len(samples)} prompts")
        return [Timed(output, 0.0, share) for output in outputs]

    def _concluded(self, samples: Sequence[Sample], outputs: Sequence[Output]) -> list[Output]:
        """The outputs, those that reason with the option that is likeliest behind the reasoning."""
        made = list(outputs)
        begun = {}
        for i, (sample, output) in enumerate(zip(samples, outputs, strict=True)):
            prompt = self._prompt(sample) if structured.parse(output.raw).reasoning else ""
            if isinstance(prompt, Prompt):
                begun[i] = replace(prompt, begun=structured.up_to_conclusion(output.raw))
        if not begun:
            return made
        prepared = self._model.prepare(list(begun.values()))
        options = self._options([prompt.choices for prompt in begun.values()])
        for i, choice in zip(begun, self._model.choose(prepared, options), strict=True):
            made[i] = replace(made[i], scores=choice.scores, concluded=choice.raw)
        return made

    def _options(self, choices: Sequence[Sequence[str]]) -> list[Sequence[str]]:
        """What is scored for each prompt with such choices."""
        if self._asking.options == "text":
            return list(choices)
        return [ascii_uppercase[: len(each)] for each in choices]

    def _prediction(self, sample: Sample, result: Timed | str) -> Prediction:
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
        if isinstance(result, str):
            return replace(common, error=result)
        output = result.output
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
        finished: see `harness.types.is_finished`; given to a `read` that has such a parameter.
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


def _without(batch: Sequence[Sample], errors: Sequence[str | None]) -> list[Sample]:
    """The samples that have no error."""
    return [sample for sample, error in zip(batch, errors, strict=True) if error is None]


def _reason(error: Exception) -> str:
    if isinstance(error, SampleError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _is_out_of_memory(error: Exception) -> bool:
    from harness.engine.sizing import is_out_of_memory

    return is_out_of_memory(error)


def _free_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
