"""Rows that are drawn instead of read: where the mini tasks get what the others find in files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from harness.core.errors import HarnessError
from harness.core.types import DataOptions, ImageRef
from harness.data.rows import Row
from harness.data.splits import same_split, wrong_split
from harness.synthetic.questions import SIZES, Item
from harness.synthetic.schema import fields, png

SOURCE = "drawn by harness"
LICENCE = "Apache-2.0"
"""The package's own: all of it is made here."""


def split_of(options: DataOptions, task: str) -> str:
    """The split that is asked for, as it is called here; raises HarnessError."""
    if options.revision is not None:
        raise HarnessError(f"--revision is one of a hub's data set; {task} is drawn.")
    for name in same_split(options.split):
        if name in SIZES:
            return name
    raise wrong_split(task, options.split, SIZES)


def rows(items: Sequence[Item]) -> Iterator[Row]:
    """The items as rows; each picture is drawn when it is read."""
    for number, item in enumerate(items):
        image = ImageRef(label=f"{item.id}.png", read=partial(png, item))
        values = fields(item)
        yield Row(f"drawn question {item.id}", number, values, (image,), tuple(values))
