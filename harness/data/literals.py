"""Lists that a data set keeps as Python's text of them, such as "['a', 'b']"."""

from __future__ import annotations

import ast
from typing import Any

from harness.data.answer_keys import bad
from harness.data.rows import Row

MAX_CHARACTERS = 100_000
"""Of a list in a cell. Longer ones are refused unread."""


def text_list(row: Row, name: str) -> list[str]:
    """The texts of a list that may be written as a text; only literals are read, nothing is run.

    Raises:
        DataError: it is no list of texts.
    """
    value: Any = row.fields.get(name)
    if isinstance(value, str):
        value = _literal(value)
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise bad(row, name, "must be a list of texts, or Python's text of one")
    return list(value)


def cell_value(cell: str) -> Any:
    """What a cell holds whose field may be a list: the list that its text is, or the text."""
    found = _literal(cell) if cell.lstrip().startswith("[") else None
    return found if isinstance(found, list) else cell


def _literal(text: str) -> Any:
    """The value of a Python literal; None where the text is none."""
    if len(text) > MAX_CHARACTERS:
        return None
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
