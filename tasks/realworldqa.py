"""RealWorldQA (xAI, 2024): what there is, and where, in everyday photographs."""

from __future__ import annotations

from functools import partial

from harness.core.prompts import short_answer
from harness.core.types import DataOptions, SampleSet, Task
from harness.data.published import published_split
from harness.data.schema import open_question
from harness.extract import extract_open
from harness.metrics.exact_match import EXACT_MATCH
from harness.metrics.letter_match import LETTER_MATCH

LICENCE = "CC BY-ND 4.0"


def load(options: DataOptions) -> SampleSet:
    """The test split of RealWorldQA, or of data in its schema; raises DataError. Options, where a
    question has some, are part of its text, and the answer is then a letter."""
    return published_split(
        options,
        open_question,
        repo=("lmms-lab/RealWorldQA", "lmms-lab-encoder/RealWorldQA"),
        files="data/{split}-*.parquet",
        licence=LICENCE,
    )


TASK = Task(
    name="realworldqa",
    title="RealWorldQA",
    licence=LICENCE,
    load=load,
    prompt=partial(short_answer, wording=""),  # its questions say what they want
    extract=extract_open,
    metrics=(EXACT_MATCH, LETTER_MATCH),
    answers="text",
    max_new_tokens=32,
    questions=765,
)
