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
    }
)
"""Name in records -> where the metric is."""


def metric(name: str) -> Metric | None:
    """The metric of that name; None for one of a user's own task."""
    if name not in METRICS:
        return None
    module, _, attribute = METRICS[name].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    assert isinstance(found, Metric)
    return found
