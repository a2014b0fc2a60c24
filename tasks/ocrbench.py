"""OCRBench (Liu et al., 2024): reading text in pictures, 1,000 questions of ten types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.core.prompts import short_answer
from harness.core.types import DataOptions, Sample, SampleSet, Task
from harness.data.published import published_split
from harness.data.rows import Row
from harness.data.schema import open_question
from harness.extract import extract_open
from harness.metrics.contains import CONTAINS, EXACT_CASE

LICENCE = "MIT"
FORMULAS = "HME100k"
"""Of its data sets the one that is compared with its case."""


def load(options: DataOptions) -> SampleSet:
    """The test split of OCRBench, or of data in its schema; raises DataError. The topic is the type
    of the question; the official score is the number of right ones of 1,000."""
    return published_split(
        options,
        _question,
        repo="echo840/OCRBench",
        files="data/{split}-*.parquet",
        columns={"question_type": "topic", "dataset": "dataset"},
        licence=LICENCE,
    )


def _question(row: Row) -> Sample:
    return replace(open_question(row), metadata=about_formula(row.fields))


def about_formula(fields: Mapping[str, Any]) -> Mapping[str, str | float]:
    """Whether a row is compared with its case."""
    return {EXACT_CASE: 1.0} if fields.get("dataset") == FORMULAS else {}


TASK = Task(
    name="ocrbench",
    title="OCRBench",
    licence=LICENCE,
    load=load,
    prompt=short_answer,
    extract=extract_open,
    metrics=(CONTAINS,),
    answers="text",
    about=about_formula,
    max_new_tokens=128,
    questions=1_000,
)
