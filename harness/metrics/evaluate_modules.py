"""The text metrics and accuracy as classes of Hugging Face's evaluate, so that they combine with
its other metrics (`evaluate.combine`) and save with its tool (`evaluate.save`).

Nothing is fetched: `evaluate.load` would download a script, or run one from the working folder.
Predictions and references are kept in memory. Importing this module loads evaluate, which takes
seconds; nothing else of the harness imports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
from datasets import Features
from datasets import Value as Column

from harness.metrics import overlap as text_metrics
from harness.metrics.bertscore import bertscore

_TEXTS = [
    Features({"predictions": Column("string"), "references": Column("string")}),
    Features({"predictions": Column("string"), "references": [Column("string")]}),
]
_INPUTS = """
Args:
    predictions: texts, one for each question.
    references: texts, or lists of one text each.
"""


class _InMemory(evaluate.Metric):  # type: ignore[misc]  # published without types
    """A metric that leaves no files: neither predictions nor an empty cache folder."""

    def __init__(self) -> None:
        super().__init__(keep_in_memory=True)

    def _build_data_dir(self) -> str:
        return ""


class Bleu(_InMemory):
    """Corpus BLEU, with the keys of evaluate's own: bleu, precisions, brevity_penalty,
    length_ratio, translation_length, reference_length; 0 where no answer has a token."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=f"Corpus BLEU, 0 to 1: {text_metrics.bleu_signature()}",
            citation="Papineni et al. (2002), BLEU: a method for automatic evaluation of machine "
            "translation, ACL.",
            inputs_description=_INPUTS,
            features=_TEXTS,
        )

    def _compute(
        self, predictions: Sequence[str], references: Sequence[str | Sequence[str]]
    ) -> dict[str, Any]:
        sums = text_metrics.bleu_statistics(predictions, _single(references)).sum(axis=0)
        length, reference, *counts = sums.tolist()
        matched, total = counts[:4], counts[4:]
        return {
            "bleu": float(text_metrics.bleu(sums)),
            "precisions": [m / t if t else 0.0 for m, t in zip(matched, total, strict=True)],
            "brevity_penalty": float(np.exp(min(0.0, 1 - reference / length))) if length else 0.0,
            "length_ratio": length / reference if reference else 0.0,
            "translation_length": length,
            "reference_length": reference,
        }


class Rouge(_InMemory):
    """Mean F1 of rouge1, rouge2, rougeL and rougeLsum, with the keys of evaluate's own. The mean is
    a plain one: evaluate's is the median of a bootstrap that is not seeded."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=f"ROUGE, 0 to 1: {text_metrics.ROUGE_SIGNATURE}",
            citation="Lin (2004), ROUGE: a package for automatic evaluation of summaries, Text "
            "Summarization Branches Out.",
            inputs_description=_INPUTS,
            features=_TEXTS,
        )

    def _compute(
        self, predictions: Sequence[str], references: Sequence[str | Sequence[str]]
    ) -> dict[str, float]:
        scores = text_metrics.rouge(predictions, _single(references))
        return {name: float(values.mean()) for name, values in scores.items()}


class BertScore(_InMemory):
    """BERTScore of each pair, with the keys of evaluate's own: precision, recall, f1, hashcode.
    The encoder is given to `compute`, or to the class where metrics are combined."""

    def __init__(self, encoder: str | Path | None = None) -> None:
        super().__init__()
        self._encoder = encoder

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="BERTScore without idf and without rescaling.",
            citation="Zhang et al. (2020), BERTScore: evaluating text generation with BERT, ICLR.",
            inputs_description=_INPUTS
            + "    **options: those of harness.metrics.bertscore.bertscore.\n",
            features=_TEXTS,
        )

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[str | Sequence[str]],
        **options: Any,
    ) -> dict[str, Any]:
        options.setdefault("encoder", self._encoder)
        scores = bertscore(predictions, _single(references), **options)
        return {
            "precision": scores.precision.tolist(),
            "recall": scores.recall.tolist(),
            "f1": scores.f1.tolist(),
            "hashcode": scores.signature,
        }


class Accuracy(_InMemory):
    """Share of predictions that equal their reference: 0-based indices of options, -1 for an answer
    that could not be read."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Accuracy, 0 to 1.",
            citation="",
            inputs_description="\nArgs:\n    predictions: indices.\n    references: indices.\n",
            features=Features({"predictions": Column("int64"), "references": Column("int64")}),
        )

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        if not predictions:
            raise ValueError("no predictions")
        return {"accuracy": float(np.mean(np.equal(predictions, references)))}


def _single(references: Sequence[str | Sequence[str]]) -> list[str]:
    """References as texts.

    Raises:
        ValueError: a question has none, or several.
    """
    texts = []
    for row, reference in enumerate(references):
        if isinstance(reference, str):
            texts.append(reference)
        elif len(reference) == 1:
            texts.append(reference[0])
        else:
            raise ValueError(f"row {row} has {len(reference)} references; these metrics take one")
    return texts
