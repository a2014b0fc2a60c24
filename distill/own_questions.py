"""Which task asks and scores a user's own questions where none is named."""

from __future__ import annotations

from itertools import islice
from statistics import median

from harness.core.types import DataOptions
from harness.data.answer_keys import CHOICES
from harness.data.sources import open_source

OPTIONS, MIXED, WORDS, SENTENCES = "scienceqa", "mmmu", "gqa", "vqaonline"
"""With options: accuracy; only some with options: accuracy of both kinds; answers of a few words:
exact match; sentences: overlap of words."""
_LOOKED_AT = 500
_SHORT = 3
"""Words of a short answer, at most."""


def task_for(options: DataOptions) -> str:
    """The name of the task that fits the questions at `options.path`; raises DataError."""
    rows = [row.fields for row in islice(open_source(options).rows, _LOOKED_AT)]
    with_options = [any(row.get(name) for name in (*CHOICES, "A")) for row in rows]
    if any(with_options):
        return OPTIONS if all(with_options) else MIXED
    answers = [row.get("answer") or row.get("answers") for row in rows]
    firsts = [each[0] if isinstance(each, list) and each else each for each in answers]
    lengths = [len(str(each).split()) for each in firsts if each is not None]
    return WORDS if not lengths or median(lengths) <= _SHORT else SENTENCES
