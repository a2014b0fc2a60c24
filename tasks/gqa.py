"""GQA (Hudson and Manning, 2019): compositional questions about photographs, balanced test-dev."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from harness.core.files.paths import user_path
from harness.core.prompts import short_answer
from harness.core.types import DataOptions, SampleSet, Task
from harness.data.answer_keys import bad
from harness.data.published import published_split
from harness.data.rows import Row
from harness.data.schema import collect, open_question
from harness.data.sources import Source, open_source
from harness.extract import extract_open
from harness.metrics.exact_match import EXACT_MATCH

LICENCE = "MIT"
"""As the card of the copy on the hub states it."""
REPO = ("lmms-lab/GQA", "lmms-lab-encoder/GQA")
QUESTIONS, IMAGES = "testdev_balanced_instructions", "testdev_balanced_images"
"""The two configurations that are joined by the picture's id."""


def load(options: DataOptions) -> SampleSet:
    """The balanced test-dev split of GQA, whose questions and pictures are two tables, or data in
    its schema in one; raises DataError."""
    if options.path is not None and not (user_path(options.path) / QUESTIONS).is_dir():
        return published_split(
            options, open_question, repo=REPO, files=f"{QUESTIONS}/{{split}}-*.parquet",
            licence=LICENCE,
        )  # fmt: skip
    questions = _table(options, QUESTIONS, {"imageId": "imageId"})
    return collect(
        _joined(questions, _table(options, IMAGES, {})),
        open_question,
        options,
        source=questions.name,
        revision=questions.revision,
        licence=LICENCE,
    )


def _table(options: DataOptions, name: str, columns: dict[str, str]) -> Source:
    if options.path is not None:
        options = replace(options, path=user_path(options.path) / name)
    return open_source(options, repo=REPO, files=f"{name}/{{split}}-*.parquet", columns=columns)


def _joined(questions: Source, images: Source) -> Iterator[Row]:
    """The questions with their pictures; raises DataError for one without."""
    pictures = {str(row.fields.get("id")): row.images for row in images.rows}
    for row in questions.rows:
        found = pictures.get(str(row.fields.get("imageId")))
        if found is None:
            raise bad(row, "imageId", f"must be the id of a picture in {IMAGES}")
        yield replace(row, images=found)


TASK = Task(
    name="gqa",
    title="GQA",
    licence=LICENCE,
    load=load,
    prompt=short_answer,
    extract=extract_open,
    metrics=(EXACT_MATCH,),
    answers="text",
    max_new_tokens=32,
    split="testdev",
    questions=12_578,
)
