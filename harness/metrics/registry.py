"""The metrics by name: a metric is a file, and a line here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from harness.core.types import Metric

METRICS: Mapping[str, str] = MappingProxyType(
    {
        "accuracy": "harness.metrics.accuracy:ACCURACY",
        "chance": "harness.metrics.accuracy:CHANCE",
        "unparsed": "harness.metrics.unparsed:UNPARSED",
        "bleu": "harness.metrics.text_overlap:BLEU",
        "rouge1": "harness.metrics.text_overlap:ROUGE_1",
        "rouge2": "harness.metrics.text_overlap:ROUGE_2",
        "rougeL": "harness.metrics.text_overlap:ROUGE_L",
        "rougeLsum": "harness.metrics.text_overlap:ROUGE_LSUM",
        "bertscore_precision": "harness.metrics.bertscore_metrics:PRECISION",
        "bertscore_recall": "harness.metrics.bertscore_metrics:RECALL",
        "bertscore_f1": "harness.metrics.bertscore_metrics:F1",
        "vqa_accuracy": "harness.metrics.vqa_accuracy:VQA_ACCURACY",
        "anls": "harness.metrics.anls:ANLS",
        "exact_match": "harness.metrics.exact_match:EXACT_MATCH",
        "letter_match": "harness.metrics.letter_match:LETTER_MATCH",
        "relaxed_accuracy": "harness.metrics.relaxed_accuracy:RELAXED_ACCURACY",
        "relaxed_lenient": "harness.metrics.relaxed_accuracy:RELAXED_LENIENT",
        "yes_f1": "harness.metrics.yes_no:YES_F1",
        "yes_f1_mean": "harness.metrics.yes_no:YES_F1_MEAN",
        "yes_precision": "harness.metrics.yes_no:YES_PRECISION",
        "yes_recall": "harness.metrics.yes_no:YES_RECALL",
        "yes_no_accuracy": "harness.metrics.yes_no:YES_NO_ACCURACY",
        "yes_ratio": "harness.metrics.yes_no:YES_RATIO",
        "circular_accuracy": "harness.metrics.circular:CIRCULAR_ACCURACY",
        "contains": "harness.metrics.contains:CONTAINS",
        "topic_mean": "harness.metrics.balanced:TOPIC_MEAN",
        "cv_bench": "harness.metrics.balanced:CV_BENCH",
        "mmmu_accuracy": "harness.metrics.mmmu:MMMU_ACCURACY",
        "mmmu_extracted": "harness.metrics.mmmu:MMMU_EXTRACTED",
        "mmmu_guessed": "harness.metrics.mmmu:MMMU_GUESSED",
        "mathvista_accuracy": "harness.metrics.mathvista:MATHVISTA_ACCURACY",
        "mathvista_extracted": "harness.metrics.mathvista:MATHVISTA_EXTRACTED",
        "direct_answer": "harness.metrics.direct_answer:DIRECT_ANSWER",
    }
)
"""Name in records -> where the metric is."""


CONTEXT = frozenset({"chance", "unparsed"})
"""Figures that stand beside scores and are none themselves."""


def metric(name: str) -> Metric | None:
    """The metric of that name; None for one of a user's own task."""
    if name not in METRICS:
        return None
    module, _, attribute = METRICS[name].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    assert isinstance(found, Metric)
    return found
