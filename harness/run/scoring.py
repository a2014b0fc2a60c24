"""From predictions to a record's figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from harness.core import timing
from harness.core.errors import HarnessError, is_beyond_context
from harness.core.finish import is_cut, is_finished
from harness.core.options import TOKENIZE, Tokenize
from harness.core.types import (
    REFUSAL,
    Extraction,
    Metric,
    Prediction,
    RunMetric,
    Task,
)
from harness.metrics.figures import described_by, figures
from harness.run.folder import RunFolder
from harness.run.judgements import judge_metrics
from harness.run.records import MetricInfo, RunRecord
from harness.run.runner import CONCLUDED
from harness.run.shuffling import extract_answer
from harness.run.voting import counted_again

Extractor = Callable[[str, Sequence[str]], Extraction]


@dataclass(frozen=True, slots=True)
class Run:
    """A run and where it is."""

    folder: Path
    record: RunRecord
    skipped: Sequence[str] = ()
    """Why rows of a file of answers are not in it."""
    unchanged: bool = False
    """It was there before, made of the same answers in the same way."""


def metrics_of(
    task: Task, *, tokenize: Tokenize = TOKENIZE, bertscore: str | None = None
) -> tuple[Metric | RunMetric, ...]:
    """The task's metrics, with BLEU's tokenizer; and, where answers are prose, BERTScore with that
    encoder.

    Raises:
        HarnessError: another tokenizer, and the task has no BLEU.
    """
    from harness.metrics.bertscore_metrics import bertscore_metrics
    from harness.metrics.text_overlap import with_tokenizer

    metrics: Sequence[Metric | RunMetric] = task.metrics
    if tokenize != TOKENIZE:
        metrics = with_tokenizer(metrics, tokenize)
        if metrics == list(task.metrics):
            raise HarnessError(
                f"--tokenize is BLEU's, and {task.title} has no BLEU.", remedy="Leave it out."
            )
    if bertscore is None or not takes_bertscore(task):
        return tuple(metrics)
    return (*metrics, *bertscore_metrics(bertscore))


def takes_bertscore(task: Task) -> bool:
    """Whether the task's answers are prose: those that are scored by BLEU too, and those of task
    files that describe no metrics."""
    prose = any(not isinstance(each, Metric) or each.name == "bleu" for each in task.metrics)
    return task.answers == "text" and prose


def tokenize_of(record: RunRecord) -> Tokenize:
    """How the recorded BLEU splits texts, by its signature."""
    bleu = record.metrics.get("bleu")
    parts = bleu.note.split("|") if bleu else []
    return next((known for known in get_args(Tokenize) if f"tok:{known}" in parts), TOKENIZE)


def scored(
    record: RunRecord,
    predictions: Sequence[Prediction],
    metrics: Sequence[Metric | RunMetric],
) -> tuple[RunRecord, list[Prediction]]:
    """`record` with everything that is computed from the predictions: counts, metrics, timing and,
    unless it was interrupted, its status. And the predictions with their scores."""
    started = time.perf_counter()
    found = figures(predictions, metrics)
    info = {m.name: MetricInfo.of(m) for m in described_by(metrics) if m.name in found.values}
    own = dict.fromkeys(name.partition("/")[0] for name in found.values)
    info |= {
        name: record.metric_info.get(name, MetricInfo(title=name))
        for name in own
        if name not in info
    }
    sessions = [dict(session) for session in record.sessions]
    if sessions:
        sessions[-1]["score_seconds"] = time.perf_counter() - started
    failed = sum(p.error is not None for p in predictions)
    ends = [p.finish for p in predictions if p.error is None and p.finish]
    whole = len(predictions) - failed == record.counts.available
    record = replace(
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
        metrics=found.values,
        metric_info=info,
        sessions=sessions,
        timing=timing.summarise(predictions, sessions),
    )
    return record, [_with_only(p, info) for p in found.predictions]


def _with_only(prediction: Prediction, metrics: Container[str]) -> Prediction:
    """The prediction without scores of metrics that the run does not have any more."""
    scores = {name: score for name, score in prediction.scores.items() if name in metrics}
    return prediction if scores == prediction.scores else replace(prediction, scores=scores)


def extract_again(prediction: Prediction, read: Extractor) -> Prediction:
    """The prediction with what `read` extracts from its raw text, where there is one."""
    if prediction.error is not None or prediction.rule == CONCLUDED:
        return prediction

    def extract(raw: str, finish: str) -> Extraction:
        if finish == REFUSAL:
            return Extraction(None, REFUSAL)
        finished = is_finished(finish)
        return extract_answer(read, raw, prediction.choices, prediction.order, finished=finished)

    before = prediction.answer
    if prediction.votes:
        prediction = counted_again(prediction, extract)
    reading = extract(prediction.raw, prediction.finish)
    return replace(
        prediction,
        answer=reading.answer,
        rule=reading.rule,
        span=reading.span,
        scores=prediction.scores if reading.answer == before else {},
    )


def write_scored(
    folder: RunFolder,
    record: RunRecord,
    predictions: Sequence[Prediction],
    metrics: Sequence[Metric | RunMetric],
    *,
    beyond: Sequence[Prediction] = (),
    fresh: bool = False,
) -> Run:
    """Score predictions that are all there, and put them with the record into a run folder.

    Args:
        beyond: answers that are kept and not scored: see `--limit`.
        fresh: what is in the folder is moved aside.
    """
    judges = [] if fresh else judge_metrics(folder.path, predictions)
    record, predictions = scored(record, predictions, [*metrics, *judges])
    if fresh:  # now that there is something to put in its place
        folder.move_aside()
    folder.rewrite(predictions, beyond=beyond)
    folder.write_record(record)
    return Run(folder.path, record)
