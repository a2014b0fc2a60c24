"""What a task file is made of, in one place: `from harness import Task, Metric, Prompt, ...`."""

from __future__ import annotations

from harness.core.image_marks import placed
from harness.core.images import ImageRef
from harness.core.prompts import short_answer
from harness.core.types import (
    Contributions,
    DataOptions,
    Extraction,
    Metric,
    Prediction,
    Prompt,
    Reference,
    Sample,
    SampleSet,
    Style,
    Submission,
    Task,
    Value,
)
from harness.data.rows import Row
from harness.data.schema import choice_question, collect, open_question
from harness.data.sources import open_source
from harness.extract import extract_choice, extract_mixed, extract_open
from harness.metrics.registry import metric

__all__ = [
    "Contributions",
    "DataOptions",
    "Extraction",
    "ImageRef",
    "Metric",
    "Prediction",
    "Prompt",
    "Reference",
    "Row",
    "Sample",
    "SampleSet",
    "Style",
    "Submission",
    "Task",
    "Value",
    "choice_question",
    "collect",
    "extract_choice",
    "extract_mixed",
    "extract_open",
    "metric",
    "open_question",
    "open_source",
    "placed",
    "short_answer",
]
