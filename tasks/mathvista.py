"""MathVista (Lu et al., 2024): mathematics about figures, charts and photographs.

Officially a language model extracts the answers. Here they are extracted by rule, and every figure
says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from harness.core.prompts import bracketed
from harness.core.types import DataOptions, Extraction, Prompt, Sample, SampleSet, Style, Task
from harness.data.answer_keys import CHOICES, bad, field_of
from harness.data.published import published_split
from harness.data.rows import Row
from harness.data.schema import choice_question, open_question
from harness.extract import extract_choice
from harness.extract.values import extract_value
from harness.metrics.mathvista import (
    ANSWER_TYPE,
    MATHVISTA_ACCURACY,
    MATHVISTA_EXTRACTED,
    PRECISION,
)

LICENCE = "CC BY-SA 4.0"
UNIT = "unit"
HINTS = MappingProxyType(
    {
        "choice": "Please answer the question and provide the correct option letter, e.g., A, B, "
        "C, D, at the end.",
        "integer": "Please answer the question requiring an integer answer and provide the final "
        "value, e.g., 1, 2, 3, at the end.",
        "float 1": "Please answer the question requiring a floating-point number with one decimal "
        "place and provide the final value, e.g., 1.2, 1.3, 1.4, at the end.",
        "float 2": "Please answer the question requiring a floating-point number with two decimal "
        "places and provide the final value, e.g., 1.23, 1.34, 1.45, at the end.",
        "list": "Please answer the question requiring a Python list as an answer and provide the "
        "final list, e.g., [1, 2, 3], [1.2, 1.3, 1.4], at the end.",
    }
)
"""How the reference evaluation asks for each kind of answer, in the style `direct`."""


def load(options: DataOptions) -> SampleSet:
    """One split of MathVista, or of data in its schema; raises DataError. The topic is the task
    that a question belongs to, such as geometry problem solving."""
    return published_split(
        options,
        _question,
        repo="AI4Math/MathVista",
        files="data/{split}-*.parquet",
        columns={
            "pid": "id",
            "metadata": "metadata",
            **{name: name for name in ("question_type", ANSWER_TYPE, PRECISION, UNIT)},
        },
        licence=LICENCE,
        hidden={"test"},
    )


def _question(row: Row) -> Sample:
    fields = dict(row.fields)
    choices = fields.get(field_of(row, CHOICES))
    if fields.get("question_type") == "multi_choice" and not choices:
        raise bad(row, field_of(row, CHOICES), "must be a list of texts")
    about = fields.get("metadata")
    if isinstance(about, Mapping) and not fields.get("topic"):
        fields["topic"] = about.get("task")
    if choices:
        # Some questions have an option twice; any of them is right.
        if fields.get("answer") in choices:
            fields["answer"] = list(choices).index(fields["answer"])
        sample = choice_question(replace(row, fields=fields))
    else:
        sample = open_question(replace(row, fields={**fields, **dict.fromkeys(CHOICES)}))
    return replace(sample, metadata=about_answer(fields))


def about_answer(fields: Mapping[str, Any]) -> Mapping[str, str | float]:
    """What a row says of its answer: type, precision and unit, where it says it."""
    found: dict[str, str | float] = {}
    for name in (ANSWER_TYPE, UNIT):
        if isinstance(value := fields.get(name), str) and value:
            found[name] = value
    precision = fields.get(PRECISION)
    if isinstance(precision, int | float) and precision == precision:  # noqa: PLR0124  # no NaN
        found[PRECISION] = float(precision)
    return found


def prompt(sample: Sample, style: Style) -> Prompt:
    """Hint, question with its unit, and options, as the reference evaluation words them; raises
    SampleError. Without the hint where the style is not `direct`."""
    unit = sample.metadata.get(UNIT)
    parts = [f"{sample.question} (Unit: {unit})" if unit else sample.question]
    hint = _hint(sample)
    if style == "direct" and hint:
        parts = [f"Hint: {hint}", f"Question: {parts[0]}"]
    if sample.choices:
        parts += ["Choices:", *bracketed(sample)]
    return Prompt(
        text="\n".join(parts),
        question=sample.question,
        choices=sample.choices,
        images=tuple(image.decode() for image in sample.images),
        instruction="" if style == "direct" and hint else None,
        style=style,
    )


def _hint(sample: Sample) -> str:
    """The hint for a kind of answer; none for one that the reference evaluation does not know."""
    if sample.choices:
        return HINTS["choice"]
    kind = str(sample.metadata.get(ANSWER_TYPE, ""))
    digits = sample.metadata.get(PRECISION)
    return HINTS.get(f"float {digits:g}" if kind == "float" and digits else kind, "")


def extract(raw: str, choices: Sequence[str] = (), *, finished: bool | None = None) -> Extraction:
    """The option, or the value that a text comes to."""
    read = extract_choice if choices else extract_value
    return read(raw, choices, finished=finished)


TASK = Task(
    name="mathvista",
    title="MathVista (by rule)",
    licence=LICENCE,
    load=load,
    prompt=prompt,
    extract=extract,
    metrics=(MATHVISTA_ACCURACY, MATHVISTA_EXTRACTED),
    answers="mixed",
    about=about_answer,
    max_new_tokens=512,
    split="testmini",
    questions=1_000,
)
