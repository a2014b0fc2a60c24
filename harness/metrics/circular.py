"""CircularEval of MMBench (Liu et al., 2024)."""

from __future__ import annotations

from harness.core.types import Metric
from harness.metrics.accuracy import ACCURACY

CIRCULAR_ACCURACY = Metric(
    "circular_accuracy",
    "Circular accuracy",
    ACCURACY.per_sample,
    per_group=min,
    interval="wilson",
    meaning="share of questions that are right in every order in which their options are asked",
)
