"""MMBench (Liu et al., 2024) in English: abilities one by one, each question asked in every order.

A question is right where it is right in all orders of its options (CircularEval).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from harness.core.prompts import lettered
from harness.core.submissions import letter, number, option, question
from harness.core.types import DataOptions, Sample, SampleSet, Submission, Task
from harness.data.published import published_split
from harness.data.rows import Row
from harness.data.schema import choice_question
from harness.extract import extract_choice
from harness.metrics.accuracy import ACCURACY
from harness.metrics.circular import CIRCULAR_ACCURACY

LICENCE = "Apache-2.0"
COPIES: Mapping[str, str] = MappingProxyType(
    {
        "lmms-lab/MMBench": "en/{split}-*.parquet",
        "lmms-lab/MMBench_EN": "data/{split}-*.parquet",
        "lmms-lab-encoder/MMBench_EN": "data/{split}-*.parquet",
        "lmms-lab-encoder/MMBench": "en/{split}-*.parquet",
    }
)
"""Those called MMBench_EN have 4,377 questions in dev, the others 4,329."""
_ROTATION = 1_000_000
"""An order of a question has its index plus a multiple of this."""
_ABSENT = "nan"
"""What the copy on the hub has in the place of an option or a hint that is not there."""


def load(options: DataOptions) -> SampleSet:
    """One split of MMBench, from the hub or as the tab-separated file of its authors; raises
    DataError. The topic is the coarser category."""
    return published_split(
        options,
        _question,
        copies=COPIES,
        columns={"index": "id", "L2-category": "l2-category"},
        licence=LICENCE,
        hidden={"test"},
    )


def _question(row: Row) -> Sample:
    fields = {name: None if value == _ABSENT else value for name, value in row.fields.items()}
    sample = choice_question(replace(row, fields=fields))
    if sample.group or not sample.id.isdecimal():
        return sample
    return replace(sample, group=str(int(sample.id) % _ROTATION))


TASK = Task(
    name="mmbench",
    title="MMBench",
    licence=LICENCE,
    load=load,
    prompt=lettered,
    extract=extract_choice,
    metrics=(CIRCULAR_ACCURACY, ACCURACY),
    max_new_tokens=64,
    split="dev",
    questions=4_329,
    submission=Submission(
        server="the MMBench leaderboard of OpenCompass",
        form="xlsx",
        fields={
            "index": number,
            "question": question,
            **{name: partial(option, place=place) for place, name in enumerate("ABCD")},
            "prediction": letter,
        },
    ),
)
