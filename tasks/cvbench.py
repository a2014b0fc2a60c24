"""CV-Bench (Tong et al., 2024): counting, relations, depth and distance, in 2D and in 3D."""

from __future__ import annotations

from harness.core.prompts import lettered
from harness.core.types import DataOptions, SampleSet, Task
from harness.data.published import published_split
from harness.data.schema import choice_question
from harness.extract import extract_choice
from harness.metrics.accuracy import ACCURACY
from harness.metrics.balanced import CV_BENCH

LICENCE = "Apache-2.0"


def load(options: DataOptions) -> SampleSet:
    """The test split of CV-Bench, or of data in its schema; raises DataError. The topic is the
    source of the picture."""
    return published_split(
        options,
        choice_question,
        repo="nyu-visionx/CV-Bench",
        files="test*.parquet",
        columns={"idx": "id", "source": "topic"},
        licence=LICENCE,
    )


TASK = Task(
    name="cvbench",
    title="CV-Bench",
    licence=LICENCE,
    load=load,
    prompt=lettered,
    extract=extract_choice,
    metrics=(CV_BENCH, ACCURACY),
    max_new_tokens=64,
    questions=2_638,
)
