"""ScienceQA in small: drawn questions of its topics in its own schema, for trying and teaching.

Asked, read and scored as ScienceQA is. Nothing is downloaded: the pictures are drawn when they are
read.
"""

from __future__ import annotations

from dataclasses import replace

from harness.core.types import DataOptions, SampleSet
from harness.data.schema import choice_question, collect
from harness.data.synthetic import LICENCE, SOURCE, rows, split_of
from harness.synthetic.questions import questions
from tasks import scienceqa


def load(options: DataOptions) -> SampleSet:
    """One split of the drawn questions; or what `options.path` names, as ScienceQA reads it."""
    if options.path is not None:
        return scienceqa.load(options)
    items = questions(split_of(options, "scienceqa-mini"))
    return collect(rows(items), choice_question, options, source=SOURCE, licence=LICENCE)


TASK = replace(
    scienceqa.TASK,
    name="scienceqa-mini",
    title="ScienceQA-mini",
    load=load,
    questions=1050,
    licence=LICENCE,
    synthetic=True,
)
