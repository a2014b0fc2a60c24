"""How much each attempt's rationale adds to the likelihood of the gold answer, by a model that
reads it: the scores of the method `gain` (`distill.rationales.selection.gain` has the formula).

The model is shown the question as a student is, never the answer. What it is asked is the
likelihood of the gold answer in a conclusion: at once, and after the attempt's own stages. Of a
letter that is one token; of a written answer it is the mean over its tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distill.examples import gold
from distill.rationales.attempts import Work
from distill.rationales.store import Attempt, Gain
from distill.rationales.teacher import about_source
from harness.core import progress, structured
from harness.core.errors import HarnessError
from harness.core.interrupts import interrupts
from harness.core.types import Decoding, Model, Prompt, Sample
from harness.run.conclusions import likelihoods
from harness.run.prompting import Failure, Prompter, PromptSettings
from harness.sources.source import Source


@dataclass(frozen=True, slots=True)
class Scorer:
    """The model that reads the attempts."""

    source: Source

    def __post_init__(self) -> None:
        """Refuse a model that gives no likelihoods; raises HarnessError."""
        if not self.source.capabilities.log_likelihoods:
            raise HarnessError(
                "--choose gain needs the likelihood of the gold answer, which "
                f"{self.source.place} does not give.",
                remedy="--gain-by with a model whose weights are here, or another --choose",
            )

    @property
    def name(self) -> str:
        """With the hash of its weights, for gains.jsonl."""
        return f"{self.source.checkpoint.name} {self.source.weights_hash}"

    @property
    def about(self) -> Mapping[str, Any]:
        """For the record."""
        return {**about_source(self.source), "fingerprint": self.source.weights_hash}


def leave_out_others(work: Work, scorer: Scorer) -> None:
    """Take the scores of other models for none: they are replaced as soon as there is a new one."""
    name, gains = scorer.name, work.judge.gains
    work.judge.gains = {key: each for key, each in gains.items() if each.scorer == name}


def score_attempts(work: Work, scorer: Scorer) -> None:
    """Score every attempt that has passed the filter and has no score of this model yet.

    Raises:
        HarnessError: the model cannot be loaded.
        Interrupted: asked to stop; what was scored is on disk.
    """
    name = scorer.name
    pending = [(s, attempt) for s in work.selected for attempt in work.unscored(s)]
    if not pending:
        return
    model = scorer.source.load()
    work.record_scorer(scorer.about)
    prompter = Prompter(
        model,
        work.questions.data.task,
        settings=PromptSettings(style="structured"),
        decoding=Decoding(max_new_tokens=1),
        digests=work.questions.data.digests,
    )
    done = len(work.judge.gains)
    replace_others = not done
    label = f"gains by {scorer.source.checkpoint.name}"
    with progress.make(label, total=done + len(pending), done=done, unit="attempts") as bar:
        for start in range(0, len(pending), work.options.rows):
            batch = pending[start : start + work.options.rows]
            gains = _gains(model, prompter, batch, scorer=name)
            with interrupts.shielded():
                work.add_gains(gains, replace=replace_others)
            replace_others = False
            bar.advance(len(batch))


def _gains(
    model: Model, prompter: Prompter, batch: Sequence[tuple[Sample, Attempt]], *, scorer: str
) -> list[Gain]:
    """The scores of a batch of attempts."""
    samples = {sample.id: sample for sample, _ in batch}
    prompts = {key: prompter.prompt(sample) for key, sample in samples.items()}
    asked: list[tuple[Prompt | Failure, str]] = [
        *((prompts[key], gold(sample)) for key, sample in samples.items()),
        *((_after(prompts[s.id], attempt.raw), gold(s)) for s, attempt in batch),
    ]
    usable = [
        (prompt if prompt.answer_prefix else replace(prompt, answer_prefix=structured.START), text)
        for prompt, text in asked
        if isinstance(prompt, Prompt)
    ]
    outputs = iter(likelihoods(model, [p for p, _ in usable], [[text] for _, text in usable]))
    found = [
        None if isinstance(prompt, Failure) or (output := next(outputs)).error
        else output.log_likelihoods[0]
        for prompt, _ in asked
    ]  # fmt: skip
    without = dict(zip(samples, found, strict=False))
    return [
        Gain(
            id=sample.id,
            teacher=attempt.teacher,
            hinted=attempt.hinted,
            attempt=attempt.attempt,
            scorer=scorer,
            with_rationale=after,
            without=without[sample.id],
        )
        for (sample, attempt), after in zip(batch, found[len(samples) :], strict=True)
    ]


def _after(prompt: Prompt | Failure, raw: str) -> Prompt | Failure:
    """The prompt with an attempt as what was written so far, as far as its conclusion."""
    if isinstance(prompt, Failure):
        return prompt
    return replace(prompt, answer_prefix=structured.up_to_conclusion(raw))
