"""The scores of a run's answers, whichever version wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.core.types import Metric, Prediction
from harness.metrics.accuracy import ACCURACY
from harness.metrics.figures import with_scores
from harness.metrics.registry import CONTEXT, metric
from harness.metrics.text_overlap import TEXT_OVERLAP
from harness.run.records import MetricInfo, RunRecord


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
        and name not in CONTEXT
        and not any(name in p.scores for p in answered)
        and (found := known_metric(record, name))
        and not found.needs_model
    ]
    return with_scores(predictions, lacking) if lacking else list(predictions)


def with_descriptions(record: RunRecord, predictions: Sequence[Prediction]) -> RunRecord:
    """The record with a description of its metrics. One that was killed before it was scored, by a
    version that described none, gets those that every task had then."""
    if record.metric_info or record.metrics or not predictions:
        return record
    chosen = any(prediction.choices for prediction in predictions)
    metrics = (ACCURACY,) if chosen else TEXT_OVERLAP
    return replace(record, metric_info={each.name: MetricInfo.of(each) for each in metrics})


def known_metric(record: RunRecord, name: str) -> Metric | None:
    """Our metric of that name, where the record describes it; None: a user's own, which may have
    the name and the title of ours. What older versions said of its meaning does not count."""
    found, about = metric(name), record.metric_info.get(name)
    if found is None or about is None:
        return found
    ours = MetricInfo.of(found)
    fingerprint: object = record.fingerprint  # of another type in a damaged record
    if not (isinstance(fingerprint, Mapping) and fingerprint.get("task_file")):
        ours = replace(ours, meaning=about.meaning)
    is_ours = all(getattr(ours, part) == getattr(about, part) for part in _TELLS_APART)
    return found if is_ours else None


_TELLS_APART = ("title", "unit", "higher_is_better", "scope", "meaning")
"""What a user's own metric differs in, if not in its code alone."""
