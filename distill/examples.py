"""What the student learns: a question with its image, and the target text that follows it.

This module alone knows how a target is put together (section 3.2 of the paper). The conclusion is
always the gold answer, whatever the teacher concluded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from distill.config import DistillConfig
from harness.core import structured
from harness.core.errors import SampleError
from harness.core.structured import Rationale
from harness.core.types import Sample, Task
from harness.data.fingerprint import blank, image_digests
from harness.data.schema import LETTERS


@dataclass(frozen=True, slots=True)
class Example:
    """One question, and the teacher's rationale for it."""

    sample: Sample
    rationale: Rationale | None
    """None: only the answer can be learned."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the target whose tokens weigh the same in the loss."""

    text: str
    weight: float


def gold(sample: Sample) -> str:
    """The right answer as the student is to write it: the option's letter, or an open question's
    reference text."""
    return LETTERS[sample.target] if isinstance(sample.target, int) else sample.target


def target(example: Example, config: DistillConfig) -> tuple[Piece, ...]:
    """The text that follows `Answer:`, stage by stage; the end token comes after it.

    Joined, the pieces are the rationale as the paper has it, with nothing before its first tag and
    a blank line between stages, less the stages that are left out; or, for the answer-only
    control, a space and the answer. What stands between two stages belongs to the first.

    Raises:
        SampleError: there is no rationale to learn.
    """
    if config.target == "answer":
        return (Piece(f" {gold(example.sample)}", config.weight_of("conclusion")),)
    texts = {"conclusion": gold(example.sample)}
    if len(config.stages) > 1:
        if example.rationale is None:
            raise SampleError("no rationale")
        rationale = example.rationale
        texts |= {
            "summary": rationale.summary,
            "caption": rationale.caption,
            "reasoning": rationale.reasoning,
        }
    # A stage that the teacher left out is no empty stage.
    stages = [stage for stage in config.stages if texts[stage].strip()]
    tagged = [structured.section(stage.upper(), texts[stage]) for stage in stages]
    between = ["\n\n"] * (len(stages) - 1) + [""]
    return tuple(
        Piece(text + gap, config.weight_of(stage))
        for stage, text, gap in zip(stages, tagged, between, strict=True)
    )


def fingerprint(examples: Sequence[Example], config: DistillConfig, task: Task) -> str:
    """The sha256, in hex, of everything that is learned, in its order: images, questions as the
    task words them, targets. A picture that cannot be read counts as such."""
    digests = image_digests([example.sample for example in examples])
    total = sha256()
    for example in examples:
        question = task.prompt(blank(example.sample), "direct").text
        try:
            pieces = [(p.text, p.weight) for p in target(example, config)]
        except SampleError:
            pieces = []
        sample = example.sample
        content = [sample.id, sample.topic, question, pieces, digests[sample.id]]
        total.update(sha256(json.dumps(content).encode()).digest())
    return total.hexdigest()
