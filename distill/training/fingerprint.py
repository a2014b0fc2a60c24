"""The hash of everything that a training learns: runs of other examples are not resumed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256

from distill.examples import Example
from distill.objectives.objective import Objective, Target
from harness.core.errors import SampleError
from harness.core.types import Task
from harness.data.fingerprint import blank, image_digests


def fingerprint(examples: Sequence[Example], objective: Objective, task: Task) -> str:
    """The sha256, in hex, of everything that is learned, in its order: images, questions as the
    task words them, targets, the teacher's logits by the name of their file. A picture that cannot
    be read counts as such."""
    digests = image_digests([example.sample for example in examples])
    total = sha256()
    for example in examples:
        question = task.prompt(blank(example.sample), objective.style).text
        try:
            targets = [_content(target) for target in objective.targets(example)]
        except SampleError:
            targets = [[]]
        sample = example.sample
        content: list[object] = [sample.id, sample.topic, question, *targets, digests[sample.id]]
        if objective.top_logits:
            path = example.logits
            content.append(f"{path.parent.name}/{path.name}" if path else None)
        total.update(sha256(json.dumps(content).encode()).digest())
    return total.hexdigest()


def _content(target: Target) -> list[object]:
    """What is hashed of a target: of a plain one, its pieces alone."""
    pieces: list[object] = [(piece.text, piece.weight) for piece in target.pieces]
    return pieces if target == Target(target.pieces) else [target.prefix, target.share, pieces]
