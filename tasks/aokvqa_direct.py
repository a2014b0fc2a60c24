"""A-OKVQA (Schwenk et al., 2022) answered in words: ten human answers, and no options."""

from __future__ import annotations

from dataclasses import replace

from harness.core.errors import DataError
from harness.core.prompts import short_answer
from harness.core.submissions import text
from harness.core.types import DataOptions, Sample, SampleSet, Submission
from harness.data.literals import text_list
from harness.data.published import published_split
from harness.data.rows import Row
from harness.data.schema import open_question
from harness.extract import extract_open
from harness.metrics.direct_answer import DIRECT_ANSWER
from tasks import aokvqa


def load(options: DataOptions) -> SampleSet:
    """One split of A-OKVQA, or of data in its schema, without the questions that the data set marks
    as too difficult for direct answers; raises DataError."""
    made = published_split(
        options,
        _question,
        repo=aokvqa.REPO,
        files="data/{split}-*.parquet",
        columns={
            "question_id": "id",
            "direct_answers": "answers",
            "difficult_direct_answer": "difficult",
        },
        licence=aokvqa.LICENCE,
        hidden={"test"},
    )
    kept = [sample for sample in made.samples if not sample.metadata]
    if not kept:
        raise DataError(f"Every question of {made.source} is marked as difficult.")
    left_out = len(made.samples) - len(kept)
    return replace(made, samples=kept, filtered={**made.filtered, "difficult": left_out})


def _question(row: Row) -> Sample:
    """A question with its direct answers, which the data set has as a Python list in a text."""
    if row.fields.get("answer") is None and not row.keyless:
        row = replace(row, fields={**row.fields, "answers": text_list(row, "answers")})
    sample = open_question(row)
    difficult = row.fields.get("difficult") is True
    return replace(sample, metadata={"difficult": 1.0} if difficult else {})


TASK = replace(
    aokvqa.TASK,
    name="aokvqa-direct",
    title="A-OKVQA, direct answers",
    load=load,
    prompt=short_answer,
    extract=extract_open,
    metrics=(DIRECT_ANSWER,),
    answers="text",
    max_new_tokens=32,
    submission=Submission(
        server="the A-OKVQA leaderboard of AI2",
        form="by id",
        fields={"direct_answer": text},
    ),
)
