"""MMMU (Yue et al., 2024): college questions of 30 subjects, with pictures among the words.

Most have options, some are answered in words or with a number. The score is over all questions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from harness.core.prompts import interleaved
from harness.core.submissions import letter_or_text
from harness.core.types import DataOptions, Sample, SampleSet, Submission, Task
from harness.data.answer_keys import bad, by_letter
from harness.data.configurations import CONFIGURATION
from harness.data.literals import text_list
from harness.data.published import published_split
from harness.data.rows import Row
from harness.data.schema import choice_question, open_question
from harness.data.white_space import lines
from harness.extract import extract_mixed
from harness.metrics.mmmu import MMMU_ACCURACY, MMMU_EXTRACTED, MMMU_GUESSED

LICENCE = "Apache-2.0"
COPIES: Mapping[str, str] = MappingProxyType(
    {
        "lmms-lab/MMMU": "data/{split}-*.parquet",
        "lmms-lab-encoder/MMMU": "data/{split}-*.parquet",
        "MMMU/MMMU": "{configuration}/{split}-*.parquet",
    }
)
SUBJECTS = (
    *("Accounting", "Agriculture", "Architecture_and_Engineering", "Art", "Art_Theory"),
    *("Basic_Medical_Science", "Biology", "Chemistry", "Clinical_Medicine", "Computer_Science"),
    *("Design", "Diagnostics_and_Laboratory_Medicine", "Economics", "Electronics"),
    *("Energy_and_Power", "Finance", "Geography", "History", "Literature", "Manage", "Marketing"),
    *("Materials", "Math", "Mechanical_Engineering", "Music", "Pharmacy", "Physics"),
    *("Psychology", "Public_Health", "Sociology"),
)
_IN_ID = re.compile(r"[a-z]+_(.+)_\d+")
"""The subject in an id: validation_Art_Theory_3."""


def load(options: DataOptions) -> SampleSet:
    """One split of MMMU, or of data in its schema; raises DataError. The topic is the subject."""
    return published_split(
        options,
        _question,
        copies=COPIES,
        configurations=SUBJECTS,
        columns={"question_type": "question_type"},
        licence=LICENCE,
        hidden={"test"},
    )


def _question(row: Row) -> Sample:
    """A question with options, or one that is answered in words: the text of a list that is empty.
    Its lines are kept, and pictures stay named in it."""
    fields = dict(row.fields)
    options = text_list(row, "options") if fields.get("options") is not None else []
    in_columns = "options" not in row.columns and bool(fields.get("A"))
    listed = options or in_columns or fields.get("choices") is not None
    if fields.get("question_type") == "multiple-choice" and not listed:
        raise bad(row, "options", "must be a list of texts, or Python's text of one")
    if listed:
        fields["options"] = options or None
        sample = choice_question(by_letter(replace(row, fields=fields)))
    else:
        if str(fields.get("answer") or "").startswith("["):
            fields["answer"] = text_list(row, "answer")
        sample = open_question(replace(row, fields=fields))
    found = _IN_ID.fullmatch(sample.id)
    subject = found[1] if found else str(fields.get(CONFIGURATION) or "")
    return replace(sample, question=lines(row.fields["question"]), topic=sample.topic or subject)


TASK = Task(
    name="mmmu",
    title="MMMU",
    licence=LICENCE,
    load=load,
    prompt=interleaved,
    extract=extract_mixed,
    metrics=(MMMU_ACCURACY, MMMU_EXTRACTED, MMMU_GUESSED),
    answers="mixed",
    max_new_tokens=64,
    split="validation",
    questions=900,
    submission=Submission(
        server="the MMMU challenge on EvalAI",
        form="answers by id",
        fields={"answer": letter_or_text},
    ),
)
