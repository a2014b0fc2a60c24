"""VQAonline (Chen et al., 2023): questions that people asked online, with long written answers.

The paper does not say on which part of the data set its Table 2 was measured.
"""

from __future__ import annotations

from harness.core.types import DataOptions, Prompt, Sample, SampleSet, Style, Task
from harness.data.published import published_split
from harness.data.schema import open_question
from harness.extract import extract_open
from harness.metrics.text_overlap import TEXT_OVERLAP

REPO = "ChongyanChen/VQAonline"
LICENCE = "CC BY-SA 4.0"
ATTRIBUTION = (
    "Questions and answers of VQAonline: Chen et al., Fully Authentic Visual Question "
    "Answering Dataset from Online Communities, ECCV 2024; licence CC BY-SA 4.0."
)
"""For pages that show the questions."""


def load(options: DataOptions) -> SampleSet:
    """One split of VQAonline, or of data in its schema; raises DataError.

    `options.path` is a copy of the Hub's files (`SPLIT.json` next to the folders `images1` to
    `images7`, which are joined by file name), or JSONL with images.
    """
    return published_split(options, open_question, repo=REPO, files="{split}.json", licence=LICENCE)


def prompt(sample: Sample, style: Style) -> Prompt:
    """The question, an empty line, and the context where there is one; raises SampleError."""
    return Prompt(
        text=f"{sample.question}\n\n{sample.context}" if sample.context else sample.question,
        question=sample.question,
        images=tuple(image.decode() for image in sample.images),
        style=style,
    )


TASK = Task(
    name="vqaonline",
    title="VQAonline",
    load=load,
    prompt=prompt,
    extract=extract_open,
    metrics=TEXT_OVERLAP,
    answers="text",
    max_new_tokens=512,
    licence=LICENCE,
    questions=63_746,
)
