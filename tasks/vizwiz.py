"""VizWiz (Gurari et al., 2018): questions that blind people asked about their own photographs.

"unanswerable" is an answer, and the prompt says so, as LLaVA-1.5's does.
"""

from __future__ import annotations

from functools import partial

from harness.core.prompts import SHORT, short_answer
from harness.core.types import DataOptions, Prediction, SampleSet, Submission, Task
from harness.data.published import published_split
from harness.data.schema import open_question
from harness.extract import extract_open
from harness.metrics.vqa_accuracy import VQA_ACCURACY, normalized_text

LICENCE = "CC BY 4.0"
WORDING = f"When the provided information is insufficient, respond with 'Unanswerable'.\n{SHORT}"


def load(options: DataOptions) -> SampleSet:
    """One split of VizWiz, or of data in its schema; raises DataError. The topic is the data set's
    category: yes/no, number, other or unanswerable."""
    return published_split(
        options,
        open_question,
        repo=("lmms-lab/VizWiz-VQA", "lmms-lab-encoder/VizWiz-VQA"),
        files="data/{split}-*.parquet",
        columns={"question_id": "id"},
        licence=LICENCE,
        hidden={"test"},
    )


def _photograph(prediction: Prediction) -> str:
    """The file of the picture, which a question is known by."""
    return f"{prediction.sample_id.removesuffix('.jpg')}.jpg"


TASK = Task(
    name="vizwiz",
    title="VizWiz",
    licence=LICENCE,
    load=load,
    prompt=partial(short_answer, wording=WORDING),
    extract=extract_open,
    metrics=(VQA_ACCURACY,),
    answers="text",
    max_new_tokens=32,
    split="validation",
    questions=4_319,
    submission=Submission(
        server="the VizWiz VQA Challenge on EvalAI",
        form="list",
        fields={"image": _photograph, "answer": normalized_text},
    ),
)
