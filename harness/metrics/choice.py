"""The figures of a run, from its predictions: name -> Value.

Samples that failed are in no figure here (the run counts them). Answers in which nothing could be
read are in every figure, as wrong or as empty texts, and have a share of their own. All values are
fractions, 0 to 1, with 95% intervals; a figure by topic is called "accuracy/biology".
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.options import TOKENIZE, Tokenize
from harness.core.types import Metric, Prediction, Value
from harness.metrics import coverage as text_coverage
from harness.metrics import overlap as text_metrics
from harness.metrics.bertscore import bertscore
from harness.metrics.statistics import RESAMPLES, bootstrap, percentile_interval, wilson

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

_NO_ANSWERS = "not computed: no answers"
_BOOTSTRAP = f"95% percentile bootstrap over pairs, {RESAMPLES} resamples, seed 0"


def accuracy(predictions: Sequence[Prediction]) -> dict[str, Value]:
    """Share of right answers, overall and by topic, with what guessing gives.

    accuracy, then accuracy/<topic> from the most frequent topic to the rarest (by name where
    equal); chance, the mean of 1 / number of choices over the same samples; unparsed, the share of
    answers in which nothing could be read. Intervals are Wilson's.
    """
    answered = _answered(predictions)
    right = np.array([bool(p.correct) for p in answered], dtype=bool)
    values = {"accuracy": _share(right)}
    for topic, rows in _topics(answered).items():
        values[f"accuracy/{topic}"] = _share(right[rows])
    guesses = [1 / len(p.choices) for p in answered if p.choices]
    values["chance"] = Value(
        value=float(np.mean(guesses)) if guesses else None,
        n=len(guesses),
        note="mean of 1 / number of choices" if guesses else "not computed: no choices",
    )
    values["unparsed"] = _unparsed(answered)
    return values


def text_overlap(
    predictions: Sequence[Prediction], *, tokenize: Tokenize = TOKENIZE
) -> dict[str, Value]:
    """BLEU and ROUGE of text answers against their references, overall and by topic.

    bleu, rouge1, rouge2, rougeL and rougeLsum, then each by topic as <name>/<topic>, in the order
    of `accuracy`; unparsed. Intervals are percentiles of a seeded bootstrap over the pairs, and
    left out where all resamples agree. The notes count pairs that a metric cannot judge, because
    their letters are not in its alphabet.

    Args:
        tokenize: how BLEU splits a text.
    """
    answered = _answered(predictions)
    texts, references = _texts(answered)
    workers = _cores()
    overlaps = text_metrics.bleu_statistics(texts, references, tokenize=tokenize, workers=workers)
    rouge = text_metrics.rouge(texts, references, workers=workers)
    statistics = np.column_stack([overlaps, *rouge.values()])  # (N, 10 + 4)
    names = ("bleu", *rouge)
    values = _estimates(names, statistics, _bleu_and_rouge)
    about_bleu = _joined(
        text_metrics.bleu_signature(tokenize),
        "" if tokenize == TOKENIZE else f"not comparable with tok:{TOKENIZE}",
        text_coverage.note_on_bleu(texts, references, tokenize),
    )
    about_rouge = _joined(
        text_metrics.ROUGE_SIGNATURE, text_coverage.note_on_rouge(texts, references)
    )
    for name, value in values.items():
        about = about_bleu if name == "bleu" else about_rouge
        values[name] = replace(value, note=_joined(value.note, about))
    for topic, rows in _topics(answered).items():
        by_topic = _estimates(names, statistics[rows], _bleu_and_rouge)
        values |= {f"{name}/{topic}": value for name, value in by_topic.items()}
    values["unparsed"] = _unparsed(answered)
    return values


def bertscore_metric(
    *,
    encoder: str | Path | None = None,
    layer: int | None = None,
    batch_size: int = 64,
    device: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Metric:
    """A metric that gives bertscore_precision, bertscore_recall and bertscore_f1.

    Where they cannot be computed (the encoder is missing or broken, memory runs out) they have no
    value, and a note with the reason and, where there is one, the command that helps. The arguments
    are `harness.metrics.bertscore.bertscore`'s.
    """

    def metric(predictions: Sequence[Prediction]) -> Mapping[str, Value]:
        answered = _answered(predictions)
        names = ("bertscore_precision", "bertscore_recall", "bertscore_f1")
        if not answered:
            return {name: Value(value=None, n=0, note=_NO_ANSWERS) for name in names}
        try:
            scores = bertscore(
                *_texts(answered),
                encoder=encoder,
                layer=layer,
                batch_size=batch_size,
                device=device,
                progress=progress,
            )
        except HarnessError as error:
            return _not_computed(names, len(answered), error.what, error.remedy)
        except Exception as error:  # noqa: BLE001  # the other scores must not be lost with this one
            return _not_computed(names, len(answered), f"{type(error).__name__}: {error}")
        about = _joined(
            scores.signature,
            "" if scores.comparable else "not comparable with roberta-large",
            f"{scores.empty} pairs with an empty text score 0" if scores.empty else "",
            f"{scores.cut:,} of {len(answered):,} pairs cut at {scores.limit} tokens"
            if scores.cut
            else "",
        )
        statistics = np.column_stack([scores.precision, scores.recall, scores.f1])
        values = _estimates(names, statistics, lambda means: means)
        return {
            name: replace(value, note=_joined(value.note, about)) for name, value in values.items()
        }

    return metric


def _not_computed(names: Sequence[str], n: int, *why: str) -> dict[str, Value]:
    log.warning("BERTScore is not computed: %s", _joined(*why))
    note = f"not computed: {' '.join(_joined(*why).split())[:600]}"
    return {name: Value(value=None, n=n, note=note) for name in names}


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _answered(predictions: Sequence[Prediction]) -> list[Prediction]:
    return [p for p in predictions if p.error is None]


def _topics(predictions: Sequence[Prediction]) -> dict[str, list[int]]:
    """The rows of each topic, from the most frequent to the rarest, then by name. Samples without a
    topic are in none."""
    rows: dict[str, list[int]] = {}
    for row, prediction in enumerate(predictions):
        if prediction.topic:
            rows.setdefault(prediction.topic, []).append(row)
    return dict(sorted(rows.items(), key=lambda item: (-len(item[1]), item[0])))


def _texts(predictions: Sequence[Prediction]) -> tuple[list[str], list[str]]:
    """Answers as they were read, "" where nothing was, and their references."""
    answers = ["" if p.answer is None else str(p.answer) for p in predictions]
    return answers, [str(p.target) for p in predictions]


def _unparsed(predictions: Sequence[Prediction]) -> Value:
    return _share(np.array([p.answer is None for p in predictions], dtype=bool))


def _share(hits: NDArray[np.bool_]) -> Value:
    """How many of (N,) are true."""
    if not len(hits):
        return Value(value=None, n=0, note=_NO_ANSWERS)
    count = int(hits.sum())
    low, high = wilson(count, len(hits))
    return Value(
        value=count / len(hits), n=len(hits), low=low, high=high, note="95% Wilson interval"
    )


def _bleu_and_rouge(means: Floats) -> Floats:
    """(..., 10 + 4) -> (..., 1 + 4): BLEU of its statistics; ROUGE is its own mean."""
    return np.concatenate([text_metrics.bleu(means[..., :10])[..., None], means[..., 10:]], axis=-1)


def _estimates(
    names: Sequence[str], statistics: Floats, score: Callable[[Floats], Floats]
) -> dict[str, Value]:
    """Scores with their bootstrap intervals, from per-pair statistics, (N, K)."""
    n = len(statistics)
    if not n:
        return {name: Value(value=None, n=0, note=_NO_ANSWERS) for name in names}
    point = score(statistics.mean(axis=0))
    drawn = bootstrap(statistics, score)  # (R, names)
    values = {}
    for name, value, resampled in zip(names, point.tolist(), drawn.T, strict=True):
        interval = percentile_interval(resampled)
        low, high = interval or (None, None)
        note = _BOOTSTRAP if interval else "no interval: all resamples agree"
        values[name] = Value(value=value, n=n, low=low, high=high, note=note)
    return values


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
