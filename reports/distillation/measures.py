"""The measures of rationales and of structured answers: their titles, and their cells."""

from __future__ import annotations

from harness.core.types import Value
from reports.numbers import fixed, interval
from reports.tables.table import Cell, missing

MEASURES = (
    ("complete", "All four stages", "each present once, filled and in order", 100),
    ("well_formed", "Well formed", "complete, every tag closed, nothing outside", 100),
    ("conclusion_right", "Conclusion correct", "it is the gold option", 100),
    ("reasoning_right", "Reasoning correct", "it reaches the gold option and no other", 100),
    ("reasoning_agrees", "Reasoning agrees", "with the conclusion", 100),
    ("leaks_in_summary", "Leak in the summary", "it reveals the gold option", 100),
    ("leaks_in_caption", "Leak in the caption", "it reveals the gold option", 100),
    ("repetition", "Repetition", "word 4-grams that occurred before", 100),
    ("rouge_l", "Overlap", "ROUGE-L of the reasoning against the solution in the data", 1),
    ("words", "Words", "in all stages", 1),
)
DEPENDENCE = (
    ("image_helps", "Image helps", "rationales that are more likely with the image", 100),
    ("image_gain", "Image gain", "nats per token that the image saves", 1),
)
"""(key in quality.json, title, meaning, scale)."""
TAGS = (
    ("all_tags", "All four tags", "opened and filled", 100),
    ("well_formed", "Well formed", "also closed, in order, once, nothing outside", 100),
    (
        "reasoning_to_error",
        "Reasoning-to-error",
        "of the wrong answers with a reasoning: it reaches the gold option",
        100,
    ),
    (
        "reasoning_to_error_of_all",
        "Reasoning-to-error of all",
        "the same, as a share of all answers",
        100,
    ),
)


def titled(key: str) -> tuple[str, int]:
    """The title and the scale of a measure by its key; of an unknown one the key itself."""
    known = {name: (title, scale) for name, title, _, scale in (*MEASURES, *DEPENDENCE, *TAGS)}
    return known.get(key, (key.replace("_", " "), 1))


def measure_cell(value: Value, scale: int) -> Cell:
    """A measure `scale` times, with its interval and its n."""
    if value.value is None:
        return missing(value.note or "not measured")
    ends = [None if end is None else end * scale for end in (value.low, value.high)]
    digits = 1 if scale == 100 else 2
    return Cell(
        text=fixed(value.value * scale, digits),
        value=value.value * scale,
        interval=interval(ends[0], ends[1], digits),
        low=ends[0],
        high=ends[1],
        n=value.n or None,
    )
