"""MMStar (Chen et al., 2024): questions that cannot be answered without the picture.

Six categories of 250; the score is over all questions.
"""

from __future__ import annotations

import re
from dataclasses import replace

from harness.core.prompts import lettered
from harness.core.types import DataOptions, Sample, SampleSet, Task
from harness.data.published import published_split
from harness.data.rows import Row
from harness.data.schema import choice_question
from harness.extract import extract_choice
from harness.metrics.accuracy import ACCURACY

_OPTIONS = re.compile(r"\s*\bOptions:\s*(?=A:)")
_LETTER = re.compile(r"(?:^|[,\n]\s*|\.\s+)([A-Z]):\s*")


def load(options: DataOptions) -> SampleSet:
    """The validation split of MMStar, or of data in its schema; raises DataError. No licence is
    stated. The topic is the category."""
    return published_split(
        options,
        _question,
        repo="Lin-Chen/MMStar",
        files="mmstar.parquet",
        columns={"index": "id", "category": "topic"},
        licence="",
        only="val",
    )


def _question(row: Row) -> Sample:
    """A question whose options are part of its text: "... Options: A: x, B: y"."""
    text = row.fields.get("question")
    if not isinstance(text, str) or row.fields.get("choices") is not None:
        return choice_question(row)
    question, listed = _split_off(text)
    if not listed:
        return choice_question(row)
    split_up = {"question": question, "choices": _choices(listed)}
    return choice_question(replace(row, fields={**row.fields, **split_up}))


def _split_off(text: str) -> tuple[str, str]:
    """The question, and its options; the last "Options:" begins them."""
    found = list(_OPTIONS.finditer(text))
    return (text[: found[-1].start()], text[found[-1].end() :]) if found else (text, "")


def _choices(listed: str) -> list[str]:
    """The options of "A: x, B: y", as long as their letters follow each other."""
    starts: list[re.Match[str]] = []
    for found in _LETTER.finditer(listed):
        if ord(found.group(1)) - ord("A") == len(starts):
            starts.append(found)
    ends = [*(found.start() for found in starts[1:]), len(listed)][: len(starts)]
    return [
        listed[found.end() : end].strip().removesuffix(",").strip()
        for found, end in zip(starts, ends, strict=True)
    ]


TASK = Task(
    name="mmstar",
    title="MMStar",
    load=load,
    prompt=lettered,
    extract=extract_choice,
    metrics=(ACCURACY,),
    max_new_tokens=64,
    split="val",
    questions=1_500,
)
