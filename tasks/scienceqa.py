"""ScienceQA (Lu et al., 2022): multiple-choice science questions, most with a picture.

Only questions with an image are asked unless others are asked for: 2,017 of the test split's 4,241.
"""

from __future__ import annotations

from dataclasses import replace

from harness.core.types import DataOptions, Prompt, Sample, SampleSet, Style, Task
from harness.data.answer_keys import LETTERS
from harness.data.rows import Row
from harness.data.schema import choice_question, collect
from harness.data.sources import open_source
from harness.extract import extract_choice
from harness.metrics.accuracy import ACCURACY

REPO = "derek-thomas/ScienceQA"
LICENCE = "CC BY-NC-SA 4.0"
"""The source's; the hub copy's card says CC BY-SA, which its source does not allow."""
ATTRIBUTION = (
    "Questions and pictures of ScienceQA: Lu et al., Learn to Explain: Multimodal Reasoning "
    "via Thought Chains for Science Question Answering, NeurIPS 2022; licence "
    "CC BY-NC-SA 4.0, not for commercial use."
)
"""For pages that show the questions."""
OWN_FIELDS = frozenset({"task", "grade", "subject", "skill"})
"""Fields of the published data set that say nothing to this program."""


def load(options: DataOptions) -> SampleSet:
    """One split of ScienceQA, or of data in its schema; raises DataError.

    `options.path` is a copy of the hub's data set (Parquet or Arrow files, `save_to_disk`, the
    image-only variant too), the original release, JSONL with images, or a CSV or TSV file with
    base64 images.
    """
    source = open_source(options, repo=REPO, files="*{split}-*.parquet")
    return collect(
        source.rows,
        _published_question if source.published else choice_question,
        options,
        source=source.name,
        revision=source.revision,
        licence=LICENCE if source.published else "",
    )


def _published_question(row: Row) -> Sample:
    """A question of the published data set: transparency is dropped, as the paper's code does, so
    that its numbers can be compared. A user's own table lacks some of the columns."""
    sample = choice_question(row)
    if not OWN_FIELDS.issubset(row.columns):
        return sample
    images = tuple(replace(image, transparency="drop") for image in sample.images)
    return replace(sample, images=images)


def prompt(sample: Sample, style: Style) -> Prompt:
    """`QUESTION Options: A: x, B: y`, as the paper's code words it; raises SampleError.

    Hint, lecture and solution are not in it.
    """
    options = ", ".join(
        f"{letter}: {choice}" for letter, choice in zip(LETTERS, sample.choices, strict=False)
    )
    return Prompt(
        text=f"{sample.question} Options: {options}",
        question=sample.question,
        choices=sample.choices,
        images=tuple(image.decode() for image in sample.images),
        style=style,
    )


TASK = Task(
    name="scienceqa",
    title="ScienceQA",
    load=load,
    prompt=prompt,
    extract=extract_choice,
    metrics=(ACCURACY,),
    max_new_tokens=512,
    licence=LICENCE,
    questions=4_241,
)
