"""InfographicVQA (Mathew et al., 2022): questions about infographics."""

from __future__ import annotations

from dataclasses import replace

from harness.core.types import DataOptions, SampleSet
from harness.data.published import published_split
from harness.data.schema import open_question
from tasks import docvqa


def load(options: DataOptions) -> SampleSet:
    """One split of InfographicVQA, or of data in its schema; raises DataError."""
    return published_split(
        options,
        open_question,
        repo=("lmms-lab/DocVQA", "lmms-lab-encoder/DocVQA"),
        files="InfographicVQA/{split}-*.parquet",
        columns={"questionId": "id", "docId": "group"},
        licence=docvqa.LICENCE,
        hidden={"test"},
    )


TASK = replace(docvqa.TASK, name="infovqa", title="InfographicVQA", load=load, questions=2_801)
