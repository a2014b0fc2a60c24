"""How an example becomes tokens and labels: a row for each target that the objective makes of it.

BOS, the places of the picture, the question, the target, the end token; a label on each token of
the target and on the end token, -100 elsewhere.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from PIL import Image

from distill.examples import Example
from distill.objectives.objective import Objective, Target
from harness.checkpoints.resolve import find_checkpoint
from harness.core.types import Task
from harness.data.fingerprint import blank

IGNORED = -100
"""The label of tokens that are not learned."""

_PICTURE = Image.new("RGB", (1, 1))
"""Stands for any picture where they are only counted."""


@dataclass(frozen=True, slots=True)
class Row:
    """One target after its question, as tokens; the three are of equal length."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    weights: tuple[float, ...]
    """Of each token in the loss; 0 where nothing is learned."""


def row_maker(
    processor: Any, base: Path, objective: Objective, task: Task
) -> Callable[[Example], tuple[Row, ...]]:
    """A function from an example to its rows; it raises SampleError where there is nothing to
    teach.

    The question is worded and tokenized as this student will be asked it: bare, in the style
    "direct". The target is tokenized apart from it and as a whole, since a model that answers
    begins after the last token of the question.
    """
    from harness.families.control_tokens import control_token_escaper
    from harness.models.prompt_format import prompt_format_for

    render = prompt_format_for(processor, find_checkpoint(str(base)), None)
    escape = control_token_escaper(processor)
    tokenizer = processor.tokenizer

    def row(example: Example, target: Target) -> Row:
        pieces = [(escape(piece.text), piece.weight) for piece in target.pieces]
        prompt = task.prompt(blank(example.sample), "direct")
        pictures = (_PICTURE,) * len(example.sample.images)
        prompt = replace(prompt, text=target.prefix + prompt.text, images=pictures)
        ids = processor._encode(render(prompt), bos=True)  # noqa: SLF001  # its one way without pixels
        tokens = tokenizer(
            "".join(text for text, _ in pieces),
            add_special_tokens=False,
            return_offsets_mapping=True,
        )
        ends = list(accumulate(len(text) for text, _ in pieces))
        weights = [pieces[bisect_right(ends, start)][1] for start, _ in tokens["offset_mapping"]]
        answer = [*tokens["input_ids"], tokenizer.eos_token_id]
        return Row(
            ids=(*ids, *answer),
            labels=(*[IGNORED] * len(ids), *answer),
            weights=(*[0.0] * len(ids), *_scaled([*weights, pieces[-1][1]], target.share)),
        )

    return lambda example: tuple(row(example, target) for target in objective.targets(example))


def _scaled(weights: list[float], share: float | None) -> list[float]:
    """The weights, scaled to add up to `share`; None: as they are."""
    if share is None:
        return weights
    factor = share / sum(weights)
    return [weight * factor for weight in weights]
