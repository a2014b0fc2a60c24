"""VQAonline in small: drawn pictures with questions as people ask them, answered in sentences.

Asked, read and scored as VQAonline is. Nothing is downloaded: the pictures are drawn when they are
read.
"""

from __future__ import annotations

from dataclasses import replace

from harness.core.types import DataOptions, SampleSet
from harness.data.schema import collect, open_question
from harness.data.synthetic import LICENCE, SOURCE, rows, split_of
from harness.synthetic.questions import open_questions
from tasks import vqaonline


def load(options: DataOptions) -> SampleSet:
    """One split of the drawn questions; or what `options.path` names, as VQAonline reads it."""
    if options.path is not None:
        return vqaonline.load(options)
    items = open_questions(split_of(options, "vqaonline-mini"))
    return collect(rows(items), open_question, options, source=SOURCE, licence=LICENCE)


TASK = replace(
    vqaonline.TASK,
    name="vqaonline-mini",
    title="VQAonline-mini",
    load=load,
    questions=250,
    licence=LICENCE,
    synthetic=True,
)
