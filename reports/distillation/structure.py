"""The structure of the answers to the test questions: tags, and reasoning that ends in an error."""

from __future__ import annotations

from reports.distillation.examples import Example, Picture, make_example, one_a_topic
from reports.distillation.measures import TAGS, measure_cell
from reports.distillation.models import Models
from reports.inputs import runs
from reports.numbers import counted, fixed
from reports.tables.table import Group, Heading, Row, Table, table

MAX_EXAMPLES = 3
"""Of reasoning that ends in an error."""


def tag_compliance(models: Models, *, name: str) -> Table | None:
    """The structure of each model's answers; None without runs. `name` prefixes ids."""
    if not models.structures:
        return None
    rows = [
        Row(
            title=model.title,
            role=model.role,
            origin=runs.origin(model.evidence.record),
            run=runs.run_id(model.evidence.record),
            cells=tuple(measure_cell(each.figures[key], scale) for key, _, _, scale in TAGS),
        )
        for model, each in models.structures.items()
    ]
    return table(
        f"{name}-tags",
        "Structure of the answers to the test questions, in percent",
        [
            Heading(key=key, title=title, meaning=meaning, implied_unit="%")
            for key, title, meaning, _ in TAGS
        ],
        groups=[Group(rows=tuple(rows))],
    )


def reasoning_errors(models: Models) -> str:
    """How many wrong answers had arrived at the right option; empty: no run of the student, or no
    options."""
    student = models.student
    if student is None or not any(p.choices for p in student.predictions.values()):
        return ""
    found = models.structures[student].figures
    share, whole = found.get("reasoning_to_error"), found.get("reasoning_to_error_of_all")
    if share is None or share.value is None:
        return f"No wrong answer of {student.title} has a reasoning."
    count = len(models.structures[student].reasoning_to_error)
    text = (
        f"{count:,} of {counted(share.n, 'wrong answer')} of {student.title} with a reasoning "
        f"({fixed(share.value * 100, 1)}%) reach the correct option and then conclude another one"
    )
    if whole is not None and whole.value is not None:
        text += f": {fixed(whole.value * 100, 1)} points of accuracy lost"
    return f"{text}."


def error_examples(models: Models, picture: Picture) -> tuple[Example, ...]:
    """Wrong answers whose reasoning was right, of different topics first."""
    student = models.student
    if student is None:
        return ()
    ids = models.structures[student].reasoning_to_error
    chosen = one_a_topic([student.predictions[i] for i in ids if i in student.predictions])
    return tuple(make_example(p, [student], picture) for p in chosen[:MAX_EXAMPLES])
