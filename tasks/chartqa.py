"""ChartQA (Masry et al., 2022): questions about charts, half by people, half made by a program."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from harness.core.prompts import short_answer
from harness.core.types import DataOptions, Sample, SampleSet, Task
from harness.data.published import published_split
from harness.data.rows import Row
from harness.data.schema import open_question
from harness.extract import extract_open
from harness.metrics.relaxed_accuracy import RELAXED_ACCURACY, RELAXED_LENIENT

LICENCE = "GPL-3.0"
_TOPICS = MappingProxyType(
    {0: "human", 1: "augmented", "human_test": "human", "augmented_test": "augmented"}
)
"""Who asked, as the two copies on the hub have it."""


def load(options: DataOptions) -> SampleSet:
    """One split of ChartQA, or of data in its schema; raises DataError. The topic says who asked:
    human or augmented."""
    return published_split(
        options,
        _question,
        repo=("HuggingFaceM4/ChartQA", "lmms-lab/ChartQA", "lmms-lab-encoder/ChartQA"),
        files="data/{split}-*.parquet",
        columns={"query": "question", "label": "answer", "human_or_machine": "who", "type": "who"},
        licence=LICENCE,
    )


def _question(row: Row) -> Sample:
    sample, who = open_question(row), row.fields.get("who")
    return sample if sample.topic else replace(sample, topic=_TOPICS.get(who, ""))


TASK = Task(
    name="chartqa",
    title="ChartQA",
    licence=LICENCE,
    load=load,
    prompt=short_answer,
    extract=extract_open,
    metrics=(RELAXED_ACCURACY, RELAXED_LENIENT),
    answers="text",
    max_new_tokens=32,
    questions=2_500,
)
