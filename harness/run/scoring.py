"""From predictions to a record's figures."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_args

from harness.core import timing
from harness.core.errors import HarnessError, is_beyond_context
from harness.core.options import TOKENIZE, Tokenize
from harness.core.types import (
    REFUSAL,
    Extraction,
    Metric,
    Prediction,
    Task,
    is_cut,
    is_finished,
)
from harness.run.folder import RunFolder
from harness.run.records import (
    RunRecord,
)
from harness.run.runner import CONCLUDED
from harness.run.shuffling import extract_answer

Extractor = Callable[[str, Sequence[str]], Extraction]


@dataclass(frozen=True, slots=True)
class Run:
    """A run and where it is."""

    folder: Path
    record: RunRecord
    skipped: Sequence[str] = ()
    """Why rows of a file of answers are not in it."""


def metrics_of(
    task: Task, *, tokenize: Tokenize = TOKENIZE, bertscore: str | None = None
) -> tuple[Metric, ...]:
    """The task's metrics, with BLEU's tokenizer; and, where answers are text, BERTScore with that
    encoder.

    Raises:
        HarnessError: another tokenizer, and the task has no BLEU.
    """
    from harness.metrics.choice import bertscore_metric, text_overlap

    metrics = task.metrics
    if tokenize != TOKENIZE:
        has_bleu = [inspect.unwrap(metric) is text_overlap for metric in metrics]
        if not any(has_bleu):
            raise HarnessError(
                f"--tokenize is BLEU's, and {task.title} has no BLEU.", remedy="Leave it out."
            )
        own = partial(text_overlap, tokenize=tokenize)
        metrics = tuple(own if found else m for m, found in zip(metrics, has_bleu, strict=True))
    if bertscore is None or task.answers != "text":
        return metrics
    return (*metrics, bertscore_metric(encoder=bertscore))


def tokenize_of(record: RunRecord) -> Tokenize:
    """How the recorded BLEU splits texts, by its signature."""
    bleu = record.metrics.get("bleu")
    parts = bleu.note.split("|") if bleu else []
    return next((known for known in get_args(Tokenize) if f"tok:{known}" in parts), TOKENIZE)


def scored(
    record: RunRecord, predictions: Sequence[Prediction], metrics: Sequence[Metric]
) -> RunRecord:
    """`record` with everything that is computed from the predictions: counts, metrics, timing and,
    unless it was interrupted, its status."""
    started = time.perf_counter()
    values = {name: value for metric in metrics for name, value in metric(predictions).items()}
    sessions = [dict(session) for session in record.sessions]
    if sessions:
        sessions[-1]["score_seconds"] = time.perf_counter() - started
    failed = sum(p.error is not None for p in predictions)
    ends = [p.finish for p in predictions if p.error is None and p.finish]
    whole = len(predictions) - failed == record.counts.available
    return replace(
        record,
        status=record.status
        if record.status == "interrupted"
        else ("complete" if whole else "partial"),
        counts=replace(
            record.counts,
            done=len(predictions),
            failed=failed,
            unparsed=sum(p.error is None and p.answer is None for p in predictions),
            beyond_context=sum(is_beyond_context(p.error) for p in predictions),
            truncated=sum(p.truncated > 0 for p in predictions),
            empty=sum(p.error is None and not p.raw.strip() for p in predictions),
            cut=sum(map(is_cut, ends)) if ends else None,
        ),
        metrics=values,
        sessions=sessions,
        timing=timing.summarise(predictions, sessions),
    )


def extract_again(prediction: Prediction, read: Extractor) -> Prediction:
    """The prediction with what `read` extracts from its raw text, where there is one."""
    has_no_text = prediction.error is not None or prediction.finish == REFUSAL
    if has_no_text or prediction.rule == CONCLUDED:
        return prediction
    reading = extract_answer(
        read,
        prediction.raw,
        prediction.choices,
        prediction.order,
        finished=is_finished(prediction.finish),
    )
    return replace(
        prediction,
        answer=reading.answer,
        rule=reading.rule,
        span=reading.span,
        correct=reading.answer == prediction.target if prediction.choices else None,
    )


def write_scored(
    folder: RunFolder,
    record: RunRecord,
    predictions: Sequence[Prediction],
    metrics: Sequence[Metric],
    *,
    beyond: Sequence[Prediction] = (),
    fresh: bool = False,
) -> Run:
    """Score predictions that are all there, and put them with the record into a run folder.

    Args:
        beyond: answers that are kept and not scored: see `--limit`.
        fresh: what is in the folder is moved aside.
    """
    record = scored(record, predictions, metrics)
    if fresh:  # now that there is something to put in its place
        folder.move_aside()
    folder.rewrite(predictions, beyond=beyond)
    folder.write_record(record)
    return Run(folder.path, record)
