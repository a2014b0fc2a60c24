"""POPE (Li et al., 2023): is there such an object in the picture? Half of the answers are yes.

Its questions are random, popular or adversarial; the published figures are F1 of each category
and their mean.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.prompts import short_answer
from harness.core.types import DataOptions, Extraction, SampleSet, Task
from harness.data.published import published_split
from harness.data.schema import open_question
from harness.extract import extract_choice
from harness.metrics.exact_match import EXACT_MATCH
from harness.metrics.yes_no import (
    YES_F1,
    YES_F1_MEAN,
    YES_NO_ACCURACY,
    YES_PRECISION,
    YES_RATIO,
    YES_RECALL,
)

LICENCE = "MIT"
ANSWERS = ("yes", "no")


def load(options: DataOptions) -> SampleSet:
    """One split of POPE, or of data in its schema; raises DataError."""
    return published_split(
        options,
        open_question,
        repo=("lmms-lab/POPE", "lmms-lab-encoder/POPE"),
        files="data/{split}-*.parquet",
        licence=LICENCE,
    )


def extract(
    raw: str,
    choices: Sequence[str] = (),  # noqa: ARG001  # an extractor
    *,
    finished: bool | None = None,
) -> Extraction:
    """The answer yes or no. One that says neither is unparsed; POPE's own reading takes it for
    yes."""
    found = extract_choice(raw, ANSWERS, finished=finished)
    answer = ANSWERS[found.answer] if isinstance(found.answer, int) else None
    return Extraction(answer, found.rule, found.span)


TASK = Task(
    name="pope",
    title="POPE",
    licence=LICENCE,
    load=load,
    prompt=short_answer,
    extract=extract,
    metrics=(
        YES_F1,
        YES_F1_MEAN,
        YES_PRECISION,
        YES_RECALL,
        YES_NO_ACCURACY,
        YES_RATIO,
        EXACT_MATCH,
    ),
    answers="text",
    max_new_tokens=32,
    questions=9_000,
)
