"""A-OKVQA (Schwenk et al., 2022): questions that ask for knowledge of the world, with options."""

from __future__ import annotations

from harness.core.prompts import lettered
from harness.core.submissions import text
from harness.core.types import DataOptions, SampleSet, Submission, Task
from harness.data.published import published_split
from harness.data.schema import choice_question
from harness.extract import extract_choice
from harness.metrics.accuracy import ACCURACY

REPO = "HuggingFaceM4/A-OKVQA"
LICENCE = "Apache-2.0"


def load(options: DataOptions) -> SampleSet:
    """One split of A-OKVQA, or of data in its schema; raises DataError."""
    return published_split(
        options,
        choice_question,
        repo=REPO,
        files="data/{split}-*.parquet",
        columns={"question_id": "id", "correct_choice_idx": "answer"},
        licence=LICENCE,
        hidden={"test"},
    )


TASK = Task(
    name="aokvqa",
    title="A-OKVQA",
    licence=LICENCE,
    load=load,
    prompt=lettered,
    extract=extract_choice,
    metrics=(ACCURACY,),
    max_new_tokens=64,
    split="validation",
    questions=1_145,
    submission=Submission(
        server="the A-OKVQA leaderboard of AI2",
        form="by id",
        fields={"multiple_choice": text},
    ),
)
