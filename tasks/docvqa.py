"""DocVQA (Mathew et al., 2021): questions about scanned documents."""

from __future__ import annotations

from harness.core.prompts import short_answer
from harness.core.submissions import number, text
from harness.core.types import DataOptions, SampleSet, Submission, Task
from harness.data.published import published_split
from harness.data.schema import open_question
from harness.extract import extract_open
from harness.metrics.anls import ANLS

LICENCE = "Apache-2.0"
"""As the card of the copy on the hub states it."""


def load(options: DataOptions) -> SampleSet:
    """One split of DocVQA, or of data in its schema; raises DataError. Questions on one document
    are a group."""
    return published_split(
        options,
        open_question,
        repo=("lmms-lab/DocVQA", "lmms-lab-encoder/DocVQA"),
        files="DocVQA/{split}-*.parquet",
        columns={"questionId": "id", "docId": "group"},
        licence=LICENCE,
        hidden={"test"},
    )


TASK = Task(
    name="docvqa",
    title="DocVQA",
    licence=LICENCE,
    load=load,
    prompt=short_answer,
    extract=extract_open,
    metrics=(ANLS,),
    answers="text",
    max_new_tokens=32,
    split="validation",
    questions=5_349,
    submission=Submission(
        server="the Robust Reading Competition",
        form="list",
        fields={"questionId": number, "answer": text},
    ),
)
