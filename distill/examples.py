"""What a student learns from: a question with its image and its answer, and a rationale for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.core.structured import Rationale
from harness.core.types import Sample, gold_text
from harness.data.answer_keys import LETTERS


@dataclass(frozen=True, slots=True)
class Example:
    """One question, and the teacher's rationale for it."""

    sample: Sample
    rationale: Rationale | None
    """None: only the answer can be learned."""
    logits: Path | None = None
    """File of the teacher's logits at the target tokens, see `distill.rationales.logits`; None:
    there are none."""


def gold(sample: Sample) -> str:
    """The right answer as the student is to write it: the option's letter, or an open question's
    reference text."""
    target = sample.target
    return LETTERS[target] if isinstance(target, int) else gold_text(target)
