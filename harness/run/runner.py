"""The one loop that runs every model on every task.

It takes the samples batch by batch, or one by one where the model needs no batches, times what is
to be timed, and hands predictions on the moment they are there. A sample that cannot be used
becomes a prediction with an `error`; nothing else stops the loop but an interrupt, a full disk, or
a model that answers nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any

from harness.core.abilities import StreamingModel
from harness.core.errors import NOT_FINITE, Exit, HarnessError, is_beyond_context
from harness.core.finish import is_finished
from harness.core.types import (
    REFUSAL,
    Decoding,
    Extraction,
    Model,
    Output,
    Prediction,
    Sample,
    Task,
    Vote,
)
from harness.metrics.figures import score_each
from harness.run.conclusions import conclude, free_memory, option_texts
from harness.run.prompting import Failure, PreparedBatch, Prompter, PromptSettings, prepare_ahead
from harness.run.shuffling import extract_answer, in_data_order
from harness.run.voting import elected, seeds, together

log = logging.getLogger(__name__)

Clock = Callable[[], float]
CONCLUDED = "conclusion by log-likelihood"
"""The rule of answers that were not extracted but chosen: see `PromptSettings.conclude`."""
GIVE_UP_AFTER = 8
"""Failures of the model in a row, before any success, that end a run: it is not the samples."""


@dataclass(frozen=True, slots=True)
class Timed:
    """An output and the seconds it took."""

    output: Output
    preprocess_seconds: float
    generate_seconds: float
    truncated: int = 0
    """Tokens of the context text that were left out of the prompt."""


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
        prompts: PromptSettings,
        decoding: Decoding,
        digests: Mapping[str, tuple[str, ...]],
        clock: Clock = time.perf_counter,
    ) -> None:
        self._model = model
        self._task = task
        self._prompter = Prompter(model, task, settings=prompts, decoding=decoding, digests=digests)
        self._decoding = decoding
        self._digests = digests
        self._clock = clock
        self._failures = 0
        self._successes = 0
        self._fits: int | None = None  # samples of a batch that went through once memory ran out

    @property
    def streams(self) -> bool:
        """Whether answers come one by one, whatever the batch: then no batch is repeated."""
        greedy = self._prompter.settings.mode == "generate" and not self._decoding.temperature
        return greedy and isinstance(self._model, StreamingModel)

    @property
    def works(self) -> bool:
        """Whether anything was answered, be it to warm up."""
        return self._successes > 0

    def size(self, batch: Sequence[Sample]) -> int | None:
        """How many samples fit into memory at once, going by these; None where the model cannot
        say, or none of these can be asked."""
        if not self.streams:
            return None
        ready = self._prompter.prepare(batch)
        if not ready.prepared:
            return None
        assert isinstance(self._model, StreamingModel)
        return self._model.slots_that_fit(ready.prepared, self._decoding)

    @property
    def memory_limit(self) -> int | None:
        """Samples at once that memory allowed in the end; None where it allowed all."""
        if self.streams:
            assert isinstance(self._model, StreamingModel)
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
        slots: int,
        done: Container[str] = frozenset(),
        workers: int = 0,
        among: Sequence[Sample] = (),
    ) -> Iterator[list[Prediction]]:
        """Predictions for those samples of the batches that are not `done`, some at a time.

        A batch is taken when the model can start on it, and no sooner.

        Args:
            slots: how many samples are answered at once where the model needs no batches.
            workers: processes that prepare ahead; see `harness.engine.prefetch`.
            among: with workers, all samples that `pending` may hold.
        """
        batches: Iterable[Sequence[Sample]] = pending
        if self.streams:
            batches = ([s] for batch in pending for s in batch if s.id not in done)
        prepared = prepare_ahead(
            self._prompter.prepare,
            iter(batches),
            among=among,
            workers=workers,
            clock=self._clock,
        )
        if self.streams:
            yield from self._stream(prepared, slots)
            return
        for batch, ready, waited in prepared:
            predictions = self._answer_prepared(batch, ready, waited)
            yield [p for p in predictions if p.sample_id not in done]

    def answer(self, batch: Sequence[Sample]) -> list[Prediction]:
        """One prediction for each sample, in order."""
        started = self._clock()
        ready = self._prompter.prepare(batch)
        return self._answer_prepared(batch, ready, self._clock() - started)

    def _stream(
        self, prepared: Iterator[tuple[Sequence[Sample], PreparedBatch, float]], slots: int
    ) -> Iterator[list[Prediction]]:
        """Answers one by one. Where their conclusions are chosen, as many at once as are answered
        at once."""
        waiting: dict[int, tuple[Sample, float, int]] = {}
        broken: list[Prediction] = []

        def requests() -> Iterator[tuple[int, Any]]:
            for number, ((sample,), ready, waited) in enumerate(prepared):
                failure = ready.errors[0] or ready.failure
                if failure is None:
                    waiting[number] = sample, waited, ready.requests[0].truncated
                    yield number, ready.prepared
                else:
                    broken.append(self._prediction(sample, self._failed(failure)))

        assert isinstance(self._model, StreamingModel)
        finished: list[tuple[Sample, Timed]] = []
        for one in self._model.stream(requests(), self._decoding, slots=slots, clock=self._clock):
            sample, waited, truncated = waiting.pop(one.number)
            timed = self._counted(Timed(one.output, waited, one.seconds, truncated))
            if isinstance(timed, Failure):
                broken.append(self._prediction(sample, timed))
            else:
                finished.append((sample, timed))
            if len(finished) >= (slots if self._prompter.settings.conclude else 1):
                yield [*broken, *self._predictions(finished)]
                broken.clear()
                finished.clear()
        if broken or finished:
            yield [*broken, *self._predictions(finished)]

    def _predictions(self, finished: Sequence[tuple[Sample, Timed]]) -> list[Prediction]:
        if self._prompter.settings.conclude and finished:
            started = self._clock()
            outputs = conclude(
                self._model,
                self._prompter,
                [(sample, timed.output, timed.truncated) for sample, timed in finished],
            )
            share = (self._clock() - started) / len(finished)
            finished = [
                (sample, replace(timed, output=o, generate_seconds=timed.generate_seconds + share))
                for (sample, timed), o in zip(finished, outputs, strict=True)
            ]
        return [self._prediction(sample, timed) for sample, timed in finished]

    def _answer_prepared(
        self, batch: Sequence[Sample], ready: PreparedBatch, waited: float
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
        made = iter(self._predictions(finished))
        return [
            self._prediction(sample, answer) if isinstance(answer, Failure) else next(made)
            for sample, answer in zip(batch, answers, strict=True)
        ]

    def _answer(
        self, batch: Sequence[Sample], decoding: Decoding, ready: PreparedBatch | None = None
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
            ready = self._prompter.prepare(batch)
        samples = ready.without_errors(batch)
        waited = (self._clock() - started) / max(1, len(samples))
        answers = iter(self._run_or_halve(samples, decoding, ready, waited) if samples else ())
        return [next(answers) if error is None else self._failed(error) for error in ready.errors]

    def _run_or_halve(
        self, samples: Sequence[Sample], decoding: Decoding, ready: PreparedBatch, waited: float
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
                    for answer, one in zip(answers, ready.requests, strict=True)
                ]
        if len(samples) == 1:
            return [self._failed(failure)]
        log.warning("A batch of %d failed and is halved: %s", len(samples), failure.reason[:300])
        free_memory()
        middle = len(samples) // 2
        first = self._answer(samples[:middle], decoding)
        return first + self._answer(samples[middle:], decoding)

    def _counted(self, answer: Timed) -> Timed | Failure:
        """The answer, or why there is none."""
        if error := answer.output.error:
            return self._failed(
                Failure(error, ours=error == NOT_FINITE or is_beyond_context(error))
            )
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

    def _run(self, number: int, decoding: Decoding, ready: PreparedBatch) -> list[Timed]:
        started = self._clock()
        if self._prompter.settings.mode == "loglikelihood":
            choices = [one.prompt.choices for one in ready.requests]
            texts = option_texts(choices, self._prompter.settings.options)
            outputs = self._model.choose(ready.prepared, texts)
        elif self._prompter.settings.votes > 1:
            outputs = self._generate_votes(ready.prepared, decoding)
        else:
            outputs = self._model.generate(ready.prepared, decoding)
        share = (self._clock() - started) / number
        if len(outputs) != number:
            raise ValueError(f"{len(outputs)} outputs for {number} prompts")
        return [Timed(output, 0.0, share) for output in outputs]

    def _generate_votes(self, prepared: Any, decoding: Decoding) -> list[Output]:
        """Several sampled answers to each prompt, the whole batch at once for each of them."""
        found = []
        for seed in seeds(decoding.seed, self._prompter.settings.votes):
            outputs = self._model.generate(prepared, replace(decoding, seed=seed))
            found.append([replace(output, seed=seed) for output in outputs])
        return [together(each) for each in zip(*found, strict=True)]

    def _prediction(self, sample: Sample, result: Timed | Failure) -> Prediction:
        common = Prediction(
            sample_id=sample.id,
            raw="",
            answer=None,
            rule="failed",
            target=sample.target,
            question=sample.question,
            choices=sample.choices,
            topic=sample.topic,
            group=sample.group,
            metadata=sample.metadata,
            images=self._digests.get(sample.id, ()),
        )
        if isinstance(result, Failure):
            return replace(common, error=result.reason)
        output = result.output
        if output.error:  # its conclusion could not be chosen
            return replace(common, error=output.error)
        order = self._prompter.order(sample)
        votes: tuple[Vote, ...] = ()
        if output.votes:
            output, votes = elected(output, partial(self._extract, sample, order=order))
        reading = self._extract(sample, output, order)
        answered = replace(
            common,
            raw=output.raw,
            answer=reading.answer,
            rule=reading.rule,
            prompt=output.prompt,
            seconds=result.preprocess_seconds + result.generate_seconds,
            preprocess_seconds=result.preprocess_seconds,
            tokens=output.tokens,
            tokens_in=output.tokens_in,
            truncated=result.truncated + output.truncated,
            latency=output.latency,
            finish=output.finish,
            votes=votes,
            span=reading.span,
            order=order if self._prompter.settings.shuffle is not None else (),
            log_likelihoods=in_data_order(output.log_likelihoods, order),
        )
        return score_each([answered], self._task.metrics)[0]

    def _extract(self, sample: Sample, output: Output, order: Sequence[int]) -> Extraction:
        """The answer in an output: of its text, or of the letter that was chosen."""
        if output.finish == REFUSAL:
            return Extraction(None, REFUSAL)
        if output.concluded:  # nothing in the raw text says it
            chosen = extract_answer(self._task.extract, output.concluded, sample.choices, order)
            return Extraction(chosen.answer, CONCLUDED)
        return extract_answer(
            self._task.extract,
            output.raw,
            sample.choices,
            order,
            finished=is_finished(output.finish),
        )


def _is_out_of_memory(error: Exception) -> bool:
    from harness.engine.memory import is_out_of_memory

    return is_out_of_memory(error)
