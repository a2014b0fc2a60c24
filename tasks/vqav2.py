"""VQA v2 (Goyal et al., 2017): questions about photographs, with ten human answers each."""

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
    """One split of VQA v2, or of data in its schema; raises DataError. The topic is the type of the
    answer: yes/no, number or other."""
    return published_split(
        options,
        open_question,
        repo=("lmms-lab/VQAv2", "lmms-lab-encoder/VQAv2"),
        files="data/{split}-*.parquet",
        columns={"question_id": "id", "answer_type": "topic"},
        licence=LICENCE,
        hidden={"test", "testdev", "test-dev"},
    )


TASK = Task(
    name="vqav2",
    title="VQAv2",
    licence=LICENCE,
    load=load,
    prompt=short_answer,
    extract=extract_open,
    metrics=(VQA_ACCURACY,),
    answers="text",
    max_new_tokens=32,
    split="validation",
    questions=214_354,
    submission=Submission(
        server="the VQA Challenge on EvalAI",
        form="list",
        fields={"question_id": number, "answer": normalized_text},
    ),
)
