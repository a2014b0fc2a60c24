"""Accuracies in which topics count alike, whatever their size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.core.types import Contributions, Metric, Prediction
from harness.metrics.accuracy import ACCURACY

CV_BENCH_SOURCES = ("ADE20K", "COCO", "Omni3D")


def _by_topic(predictions: Sequence[Prediction], topics: Sequence[str]) -> np.ndarray[Any, Any]:
    """For each topic whether the answer is of it and right, and whether it is of it, (N, 2T)."""
    assert ACCURACY.per_sample is not None
    right = np.array([ACCURACY.per_sample(p) for p in predictions], dtype=np.float64)
    of = np.array([[p.topic == topic for topic in topics] for p in predictions], dtype=np.float64)
    return np.stack([of * right[:, None], of], axis=-1).reshape(len(predictions), -1)


def _all_topics(predictions: Sequence[Prediction]) -> Contributions:
    topics = sorted({p.topic for p in predictions})
    return Contributions({"topic_mean": _by_topic(predictions, topics)})


def _cv_bench(predictions: Sequence[Prediction]) -> Contributions:
    return Contributions({"cv_bench": _by_topic(predictions, CV_BENCH_SOURCES)})


def _mean(*means: Any) -> Any:
    """The mean of right / all over the topics."""
    right, every = np.stack(means[::2]), np.stack(means[1::2])
    return (right / every).mean(axis=0)


def _halves(*means: Any) -> Any:
    """Half 2D, the mean of its two sources, and half 3D."""
    ade, coco, omni = (right / every for right, every in zip(means[::2], means[1::2], strict=True))
    return ((ade + coco) / 2 + omni) / 2


TOPIC_MEAN = Metric(
    "topic_mean",
    "Mean over topics",
    batch=_all_topics,
    aggregate=_mean,
    meaning="unweighted mean of the topics' accuracies",
    by_topic=False,
)
CV_BENCH = Metric(
    "cv_bench",
    "CV-Bench",
    batch=_cv_bench,
    aggregate=_halves,
    meaning="half the accuracy in 2D, the mean of ADE20K's and COCO's, and half that in 3D",
    by_topic=False,
)
