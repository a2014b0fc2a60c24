"""AI2D (Kembhavi et al., 2016): school diagrams, their labels masked by letters.

With the labels to be read it is another task, `ai2d-no-mask`, with higher scores.
"""

from __future__ import annotations

from dataclasses import replace

from harness.core.prompts import lettered
from harness.core.types import DataOptions, Sample, SampleSet, Task
from harness.data.published import published_split
from harness.data.rows import Row
from harness.data.schema import choice_question
from harness.extract import extract_choice
from harness.metrics.accuracy import ACCURACY


def load(options: DataOptions) -> SampleSet:
    """The test split of AI2D, masked, or of data in its schema; raises DataError."""
    return load_copy(options, "ai2d")


def load_copy(options: DataOptions, name: str) -> SampleSet:
    """One of the two copies on the hub; its card states no licence."""
    return published_split(
        options,
        _question,
        repo=(f"lmms-lab/{name}", f"lmms-lab-encoder/{name}"),
        files="data/{split}-*.parquet",
        licence="",
    )


def _question(row: Row) -> Sample:
    """A question whose answer is the option's place, which the data set has as a text."""
    place = row.fields.get("answer")
    if isinstance(place, str) and place.strip().isdecimal():
        row = replace(row, fields={**row.fields, "answer": int(place)})
    return choice_question(row)


TASK = Task(
    name="ai2d",
    title="AI2D (labels masked)",
    load=load,
    prompt=lettered,
    extract=extract_choice,
    metrics=(ACCURACY,),
    max_new_tokens=64,
    questions=3_088,
)
