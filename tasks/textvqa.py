"""TextVQA (Singh et al., 2019): questions about the words in a picture, with ten human answers.

No OCR tokens are in the prompt: scores with them are not comparable.
"""

from __future__ import annotations

from harness.core.prompts import short_answer
from harness.core.submissions import number
from harness.core.types import DataOptions, SampleSet, Submission, Task
from harness.data.published import published_split
from harness.data.schema import open_question
from harness.extract import extract_open
from harness.metrics.vqa_accuracy import VQA_ACCURACY, normalized_text

LICENCE = "CC BY 4.0"


def load(options: DataOptions) -> SampleSet:
    """One split of TextVQA, or of data in its schema; raises DataError."""
    return published_split(
        options,
        open_question,
        repo=("lmms-lab/textvqa", "lmms-lab-encoder/textvqa"),
        files="data/{split}-*.parquet",
        columns={"question_id": "id"},
        licence=LICENCE,
        hidden={"test"},
    )


TASK = Task(
    name="textvqa",
    title="TextVQA",
    licence=LICENCE,
    load=load,
    prompt=short_answer,
    extract=extract_open,
    metrics=(VQA_ACCURACY,),
    answers="text",
    max_new_tokens=32,
    split="validation",
    questions=5_000,
    submission=Submission(
        server="the TextVQA Challenge on EvalAI",
        form="list",
        fields={"question_id": number, "answer": normalized_text},
    ),
)
