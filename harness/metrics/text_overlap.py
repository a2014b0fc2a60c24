"""BLEU and ROUGE of text answers against their references, as metrics of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from harness.core.options import TOKENIZE, Tokenize
from harness.core.types import Contributions, Metric, Prediction, RunMetric
from harness.core.worker_pool import available_cores
from harness.metrics import coverage, overlap

Floats = NDArray[np.float64]


def pairs(predictions: Sequence[Prediction]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Answers in words, "" where unparsed, and the references of each."""
    return [p.text for p in predictions], [p.references for p in predictions]


def best_of_references(
    score: Callable[[Sequence[str], Sequence[str]], Sequence[Floats]],
    texts: Sequence[str],
    references: Sequence[Sequence[str]],
) -> list[Floats]:
    """Scores of each text against the reference that gives most, each score by itself.

    Args:
        score: (texts, one reference for each) -> for each score an array, (N,).
    """
    counts = [len(each) for each in references]
    repeated = [text for text, count in zip(texts, counts, strict=True) for _ in range(count)]
    scores = score(repeated, [reference for each in references for reference in each])
    if len(repeated) == len(texts):
        return list(scores)
    starts = [0, *accumulate(counts)][:-1]
    return [np.maximum.reduceat(each, starts) for each in scores]


def _bleu_contributions(predictions: Sequence[Prediction], *, tokenize: Tokenize) -> Contributions:
    texts, references = pairs(predictions)
    statistics = overlap.bleu_statistics(
        texts, references, tokenize=tokenize, workers=available_cores()
    )
    several = any(len(each) > 1 for each in references)
    note = _joined(
        overlap.bleu_signature(tokenize, several=several),
        "" if tokenize == TOKENIZE else f"not comparable with tok:{TOKENIZE}",
    )
    caveat = coverage.note_on_bleu(texts, _as_one(references), tokenize)
    return Contributions({"bleu": statistics}, {"bleu": note}, {"bleu": caveat})


def _rouge_contributions(predictions: Sequence[Prediction]) -> Contributions:
    texts, references = pairs(predictions)

    def score(texts: Sequence[str], references: Sequence[str]) -> list[Floats]:
        return list(overlap.rouge(texts, references, workers=available_cores()).values())

    columns = dict(
        zip(overlap.ROUGE_TYPES, best_of_references(score, texts, references), strict=True)
    )
    several = any(len(each) > 1 for each in references)
    note = _joined(overlap.ROUGE_SIGNATURE, "best of several references" if several else "")
    caveat = coverage.note_on_rouge(texts, _as_one(references))
    return Contributions(columns, dict.fromkeys(columns, note), dict.fromkeys(columns, caveat))


def _bleu_of_means(*means: Floats) -> Floats:
    return overlap.bleu(np.stack(means, axis=-1))


def bleu(tokenize: Tokenize = TOKENIZE) -> Metric:
    """Corpus BLEU, with the way in which it splits a text."""
    return Metric(
        "bleu",
        "BLEU",
        aggregate=_bleu_of_means,
        batch=partial(_bleu_contributions, tokenize=tokenize),
        unit="",
        bounds=(0.0, 1.0),
        meaning="corpus BLEU, 1- to 4-grams",
    )


def _rouge(name: str, title: str, meaning: str) -> Metric:
    return Metric(
        name, title, batch=_rouge_contributions, unit="", bounds=(0.0, 1.0), meaning=meaning
    )


BLEU = bleu()
ROUGE_1 = _rouge("rouge1", "ROUGE1", "unigram overlap")
ROUGE_2 = _rouge("rouge2", "ROUGE2", "bigram overlap")
ROUGE_L = _rouge("rougeL", "ROUGE-L", "longest common subsequence")
ROUGE_LSUM = _rouge("rougeLsum", "ROUGE-Lsum", "longest common subsequence, line by line")
TEXT_OVERLAP = (ROUGE_L, ROUGE_1, ROUGE_2, ROUGE_LSUM, BLEU)
"""ROUGE-L decides: it is defined for each answer, and rewards order without asking for n-grams."""


def with_tokenizer(
    metrics: Sequence[Metric | RunMetric], tokenize: Tokenize
) -> list[Metric | RunMetric]:
    """The metrics with BLEU's tokenizer."""
    if tokenize == TOKENIZE:
        return list(metrics)
    return [
        bleu(tokenize) if isinstance(metric, Metric) and metric.name == BLEU.name else metric
        for metric in metrics
    ]


def _as_one(references: Sequence[Sequence[str]]) -> list[str]:
    return ["\n".join(each) for each in references]


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
