"""BLINK (Fu et al., 2024): what people see at a glance, in 14 tasks, many with several pictures.

The score is the mean over the tasks, whatever their size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from harness.core.prompts import interleaved
from harness.core.types import DataOptions, Sample, SampleSet, Task
from harness.data.answer_keys import by_letter
from harness.data.configurations import CONFIGURATION
from harness.data.published import published_split
from harness.data.rows import Row
from harness.data.schema import choice_question
from harness.data.white_space import one_line
from harness.extract import extract_choice
from harness.metrics.accuracy import ACCURACY
from harness.metrics.balanced import TOPIC_MEAN

LICENCE = "Apache-2.0"
COPIES: Mapping[str, str] = MappingProxyType(
    {"BLINK-Benchmark/BLINK": "{configuration}/{split}-*.parquet"}
)
TASKS = (
    *("Art_Style", "Counting", "Forensic_Detection", "Functional_Correspondence", "IQ_Test"),
    *("Jigsaw", "Multi-view_Reasoning", "Object_Localization", "Relative_Depth"),
    *("Relative_Reflectance", "Semantic_Correspondence", "Spatial_Relation"),
    *("Visual_Correspondence", "Visual_Similarity"),
)
CHOOSE = "Select from the following choices."
"""How a question ends in its own prompt."""


def load(options: DataOptions) -> SampleSet:
    """One split of BLINK, or of data in its schema; raises DataError. The topic is the task."""
    return published_split(
        options,
        _question,
        copies=COPIES,
        configurations=TASKS,
        columns={"idx": "id", "sub_task": "topic", "prompt": "prompt"},
        licence=LICENCE,
        hidden={"test"},
    )


def _question(row: Row) -> Sample:
    """A question in the words of its own prompt, which says more than the bare question does; its
    options come from their column."""
    sample = choice_question(by_letter(row))
    asked = row.fields.get("prompt")
    question = one_line(asked.partition("(A)")[0]) if isinstance(asked, str) else ""
    topic = sample.topic or str(row.fields.get(CONFIGURATION) or "")
    return replace(sample, question=question or f"{sample.question} {CHOOSE}", topic=topic)


TASK = Task(
    name="blink",
    title="BLINK",
    licence=LICENCE,
    load=load,
    prompt=interleaved,
    extract=extract_choice,
    metrics=(TOPIC_MEAN, ACCURACY),
    max_new_tokens=64,
    split="val",
    questions=1_901,
)
