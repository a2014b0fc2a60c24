"""The one loop that runs every model on every task.

It takes the samples batch by batch, times what is to be timed, and hands each batch's predictions
to a sink the moment they are there. A sample that cannot be used becomes a prediction with an
`error`; nothing else stops the loop but an interrupt, a full disk, or a model that answers nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from random import Random
from string import ascii_uppercase

from harness import structured
from harness.errors import Exit, HarnessError, SampleError
from harness.types import (
    REFUSAL,
    Decoding,
    Mode,
    Model,
    OptionForm,
    Output,
    Prediction,
    Prompt,
    Reading,
    Sample,
    Style,
    Task,
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
    examples: tuple[str, ...] = ()
    conclude: bool = False
    """Take the conclusion of a structured answer from the likelihood of the options behind its
    reasoning, in place of what the model wrote there."""


@dataclass(frozen=True, slots=True)
class Timed:
    """An output and the seconds it took."""

    output: Output
    preprocess_seconds: float
    generate_seconds: float


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
        digests: sample id -> sha256 of its images' bytes, kept in the predictions.
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

    def warm_up(self, batch: Sequence[Sample]) -> float:
        """Run a batch for a few tokens, unrecorded; returns the seconds it took."""
        started = self._clock()
        prompts = [p for p in map(self._prompt, batch) if isinstance(p, Prompt)]
        if prompts:
            decoding = replace(self._decoding, max_new_tokens=min(4, self._decoding.max_new_tokens))
            self._answer(prompts, decoding)
        return self._clock() - started

    def answer(self, batch: Sequence[Sample]) -> list[Prediction]:
        """One prediction for each sample, in order."""
        started = self._clock()
        asked = [self._prompt(sample) for sample in batch]
        prompts = [prompt for prompt in asked if isinstance(prompt, Prompt)]
        # Decoding the pictures is preprocessing too.
        share = (self._clock() - started) / len(batch)
        seed = sha256(f"{self._decoding.seed}\0{batch[0].id}".encode()).digest()
        decoding = replace(self._decoding, seed=int.from_bytes(seed[:4], "big"))
        answers = iter(self._answer(prompts, decoding))
        predictions = []
        for sample, prompt in zip(batch, asked, strict=True):
            result = next(answers) if isinstance(prompt, Prompt) else prompt
            predictions.append(self._prediction(sample, result, share))
        return predictions

    def _prompt(self, sample: Sample) -> Prompt | str:
        """The prompt, or why there is none."""
        order = self._order(sample)
        asked = replace(sample, choices=tuple(sample.choices[i] for i in order))
        if sample.pictured_choices:
            first = len(sample.images) - len(order)
            pictures = [sample.images[first + i] for i in order]
            asked = replace(asked, images=(*sample.images[:first], *pictures))
        try:
            prompt = self._task.prompt(asked, self._asking.style)
        except SampleError as error:
            return str(error)
        most = self._model.most_images
        if most is not None and len(prompt.images) > most:
            return f"{len(prompt.images)} pictures, and the model takes {most} at a time"
        return replace(prompt, examples=self._asking.examples)

    def _order(self, sample: Sample) -> tuple[int, ...]:
        """The places of the options in the order in which they are asked."""
        order = list(range(len(sample.choices)))
        if self._asking.shuffle is not None:
            Random(f"{self._asking.shuffle} {sample.id}").shuffle(order)  # noqa: S311  # no secret
        return tuple(order)

    def _answer(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[Timed | str]:
        """An output or a reason for each prompt. A batch that fails is halved until the sample
        that does it, or the size that fits into memory, is found."""
        if not prompts:
            return []
        try:
            answers = self._run(prompts, decoding)
        except HarnessError:
            raise  # it is not about these samples
        except Exception as error:  # noqa: BLE001  # here a bad sample becomes an error row
            ours = isinstance(error, SampleError)
            reason = str(error) if ours else f"{type(error).__name__}: {error}"
        else:
            return [self._counted(answer) for answer in answers]
        if len(prompts) > 1:
            log.warning("A batch of %d failed and is halved: %s", len(prompts), reason[:300])
            _free_memory()
            middle = len(prompts) // 2
            first = self._answer(prompts[:middle], decoding)
            return first + self._answer(prompts[middle:], decoding)
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

    def _run(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[Timed]:
        started = self._clock()
        prepared = self._model.prepare(prompts)
        ready = self._clock()
        if self._asking.mode == "loglikelihood":
            outputs = self._model.choose(prepared, [self._options(p) for p in prompts])
        else:
            outputs = self._model.generate(prepared, decoding)
            if self._asking.conclude:
                outputs = self._concluded(prompts, outputs)
        finished = self._clock()
        if len(outputs) != len(prompts):
            raise ValueError(f"{len(outputs)} outputs for {len(prompts)} prompts")
        n = len(prompts)
        return [Timed(o, (ready - started) / n, (finished - ready) / n) for o in outputs]

    def _concluded(self, prompts: Sequence[Prompt], outputs: Sequence[Output]) -> list[Output]:
        """The outputs, those that reason with the option that is likeliest behind the reasoning."""
        made = list(outputs)
        reasoned = [i for i, output in enumerate(made) if structured.parse(output.raw).reasoning]
        if not reasoned:
            return made
        begun = [
            replace(prompts[i], begun=structured.up_to_conclusion(made[i].raw)) for i in reasoned
        ]
        prepared = self._model.prepare(begun)
        chosen = self._model.choose(prepared, [self._options(prompt) for prompt in begun])
        for i, choice in zip(reasoned, chosen, strict=True):
            made[i] = replace(made[i], scores=choice.scores, concluded=choice.raw)
        return made

    def _options(self, prompt: Prompt) -> Sequence[str]:
        if self._asking.options == "text":
            return prompt.choices
        return ascii_uppercase[: len(prompt.choices)]

    def _prediction(self, sample: Sample, result: Timed | str, share: float) -> Prediction:
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
        said = output.concluded or output.raw
        reading = read_asked(self._task.read, said, sample.choices, order)
        if output.concluded:
            reading = replace(reading, rule=CONCLUDED)
        if output.finish == REFUSAL:
            reading = Reading(None, REFUSAL)
        preprocess = share + result.preprocess_seconds
        return replace(
            common,
            raw=output.raw,
            answer=reading.answer,
            rule=reading.rule,
            correct=reading.answer == sample.target if sample.choices else None,
            prompt=output.prompt,
            seconds=preprocess + result.generate_seconds,
            preprocess_seconds=preprocess,
            tokens=output.tokens,
            tokens_in=output.tokens_in,
            latency=output.latency,
            finish=output.finish,
            order=order if self._asking.shuffle is not None else (),
            scores=tuple(output.scores[order.index(i)] for i in range(len(output.scores))),
        )


def read_asked(
    read: Callable[[str, Sequence[str]], Reading],
    raw: str,
    choices: Sequence[str],
    order: Sequence[int],
) -> Reading:
    """The reading of `raw` where the i-th option asked was choices[order[i]], as an index into
    `choices`. An empty order: they were asked as they are."""
    if not order:
        return read(raw, choices)
    reading = read(raw, [choices[i] for i in order])
    if isinstance(reading.answer, int):
        return Reading(order[reading.answer], reading.rule)
    return reading


def _free_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
