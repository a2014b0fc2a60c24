"""The scores of a run's answers, whichever version wrote it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.types import Metric, Prediction
from harness.metrics.figures import with_scores
from harness.metrics.registry import metric
from harness.run.records import RunRecord


def scored_predictions(record: RunRecord, predictions: Sequence[Prediction]) -> list[Prediction]:
    """The predictions of a run with the scores that its record describes.

    A score that no answer has (an older version kept none; or the run was killed before it was
    scored) is computed, where its metric is one of ours and needs no model.
    """
    answered = [p for p in predictions if p.error is None]
    lacking = [
        found
        for name, about in record.metric_info.items()
        if about.scope == "sample"
        and not any(name in p.scores for p in answered)
        and (found := _ours(name))
    ]
    return with_scores(predictions, lacking) if lacking else list(predictions)


def _ours(name: str) -> Metric | None:
    found = metric(name)
    return None if found is None or found.needs_model else found
