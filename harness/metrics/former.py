"""The metrics as functions over a whole run, as task files imported them before metrics had a
description. A task with such a function has the metrics that it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.options import TOKENIZE, Tokenize
from harness.core.types import Metric, Prediction, Value
from harness.metrics.accuracy import ACCURACY
from harness.metrics.bertscore_metrics import Encoder, metrics_with
from harness.metrics.figures import figures
from harness.metrics.text_overlap import TEXT_OVERLAP, with_tokenizer


@dataclass(frozen=True, slots=True)
class FormerMetric:
    """(predictions) -> figures by name, of these metrics."""

    metrics: tuple[Metric, ...]

    def __call__(
        self, predictions: Sequence[Prediction], *, tokenize: Tokenize = TOKENIZE
    ) -> Mapping[str, Value]:
        return figures(predictions, with_tokenizer(self.metrics, tokenize)).values


accuracy = FormerMetric((ACCURACY,))
text_overlap = FormerMetric(TEXT_OVERLAP)


def bertscore_metric(**arguments: Any) -> FormerMetric:
    """BERTScore's three figures; the arguments are `harness.metrics.bertscore.bertscore`'s."""
    return FormerMetric(metrics_with(Encoder(**arguments)))
