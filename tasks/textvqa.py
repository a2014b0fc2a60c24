"""TextVQA (Singh et al., 2019): questions about the words in a picture, with ten human answers.

No OCR tokens are in the prompt: scores with them are not comparable.
"""

from __future__ import annotations

from harness.core.prompts import short_answer
from harness.core.types import DataOptions, SampleSet, Task
from harness.data.schema import collect, open_question
from harness.data.sources import open_source
from harness.extract import extract_open
from harness.metrics.vqa_accuracy import VQA_ACCURACY

LICENCE = "CC BY 4.0"


def load(options: DataOptions) -> SampleSet:
    """One split of TextVQA, or of data in its schema; raises DataError. `test` has no answers."""
    source = open_source(
        options,
        repo="lmms-lab/textvqa",
        moved_to="lmms-lab-encoder/textvqa",
        files="data/{split}-*.parquet",
        columns={"question_id": "id"},
    )
    return collect(
        source.rows,
        open_question,
        options,
        source=source.name,
        revision=source.revision,
        licence=LICENCE if source.published else "",
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
)
