"""How an example becomes tokens and labels: a row for each target that the objective makes of it.

The prompt as the student's family words it, its pictures' places included, the target, the end
token; a label on each token of the target and on the end token, -100 elsewhere.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from distill.examples import Example
from distill.objectives.objective import Objective, Target
from distill.training.features import UNUSABLE
from harness.checkpoints.catalog import CATALOG, ModelSpec
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import SampleError
from harness.core.types import Prompt, Sample, Style, Task
from harness.data.fingerprint import blank

if TYPE_CHECKING:
    from harness.engine.encoded_prompts import EncodedPrompt

IGNORED = -100
"""The label of tokens that are not learned."""

MAX_KEPT_TOKENS = 2**22
"""Of rows that are kept for the next epoch: some 100 MB."""
_QUESTION = "What is it?"
_PICTURE = Image.new("RGB", (1, 1))
"""Stands for any picture where they are only counted."""


@dataclass(frozen=True, slots=True)
class Row:
    """One target after its question, as tokens; the first three are of equal length."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    weights: tuple[float, ...]
    """Of each token in the loss; 0 where nothing is learned."""
    prompt: EncodedPrompt
    """The question, without its pixels."""
    prefix: str
    """What the target puts before the question."""

    @property
    def answer(self) -> list[int]:
        """The target's tokens."""
        return [label for label in self.labels if label != IGNORED]

    def followed_by(self, answer: Sequence[int]) -> Row:
        """The same question with another target, each of whose tokens weighs 1."""
        start = self.ids[: self.prompt.length]
        return replace(
            self,
            ids=(*start, *answer),
            labels=(*[IGNORED] * len(start), *answer),
            weights=(*[0.0] * len(start), *[1.0] * len(answer)),
        )


def distilled_row(model_type: str) -> ModelSpec | None:
    """The row of the catalogue by which students of this `model_type` are evaluated that write
    rationales; None: they are evaluated as any folder is, in the style "structured"."""
    rows = (row for row in CATALOG if row.role == "distilled")
    return next((row for row in rows if row.model_type == model_type), None)


@dataclass(frozen=True, slots=True)
class Asked:
    """How `harness eval` is told to ask a student as it was trained."""

    model: str
    weights: str | None
    style: Style | None
    """None: the model's own."""


def asked_as(folder: Path, objective: Objective) -> Asked:
    """How a student in `folder` is evaluated, or its base before training. A row of the catalogue
    is asked for a rationale by itself; a folder is asked for a letter."""
    reasons = objective.style == "structured"
    row = distilled_row(find_checkpoint(str(folder)).model_type) if reasons else None
    if row is not None:
        return Asked(row.name, str(folder), None)
    return Asked(str(folder), None, None if objective.style == "direct" else objective.style)


def checkpoint_of(base: Path, objective: Objective) -> Checkpoint:
    """The base as its student will be evaluated, which decides how questions are worded."""
    asked = asked_as(base, objective)
    return find_checkpoint(asked.model, weights=asked.weights)


class RowMaker:
    """`rows(example)`: its rows, one for each target. It raises SampleError where there is nothing
    to teach, or a picture cannot be used.

    The question is worded and tokenized as this student will be asked it. The target is tokenized
    apart from it and as a whole, since a model that answers begins after the last token of the
    question.
    """

    def __init__(
        self, processor: Any, checkpoint: Checkpoint, objective: Objective, task: Task
    ) -> None:
        """Prepare the prompt format.

        Args:
            processor: of the checkpoint, with what the family repairs.
        """
        from harness.families import family_of
        from harness.families.control_tokens import control_token_escaper
        from harness.models.prompt_format import prompt_format_for

        self.family = family_of(checkpoint.model_type)
        self._processor = processor
        self._objective = objective
        self._task = task
        self._render = prompt_format_for(processor, checkpoint, None)
        self._escape = control_token_escaper(processor)
        self._encoded: dict[tuple[object, ...], EncodedPrompt] = {}
        self._rows: dict[tuple[object, ...], Row] = {}
        self._kept_tokens = 0

    def __call__(self, example: Example) -> tuple[Row, ...]:
        return tuple(self._row(example, target) for target in self._objective.targets(example))

    def prompt(self, sample: Sample, prefix: str = "") -> EncodedPrompt:
        """The question without its pixels; `prefix` is text before it."""
        traits = self.family.training
        if traits is None or traits.tokens is None:
            key = (sample.id, prefix, sample.question, *map(id, sample.images))
            if key not in self._encoded:
                self._encoded[key] = without_pixels(self.with_pixels(sample, prefix))
            return self._encoded[key]
        from torch import tensor

        from harness.engine.encoded_prompts import EncodedPrompt

        prompt = self._task.prompt(blank(sample), self._objective.style)
        pictures = (_PICTURE,) * len(sample.images)
        text = self._render(replace(prompt, text=prefix + prompt.text, images=pictures))
        ids = traits.tokens(self._processor, text)
        return EncodedPrompt(text, {"input_ids": tensor([ids])}, "blank" if pictures else "")

    def with_pixels(self, sample: Sample, prefix: str = "") -> EncodedPrompt:
        """The question as the processor makes it."""
        from harness.models.prompt_encoding import encode_text

        try:
            prompt = self._task.prompt(sample, self._objective.style)
        except SampleError as error:
            raise SampleError(f"{UNUSABLE}: {error}") from error
        text = self._render(replace(prompt, text=prefix + prompt.text))
        try:
            return encode_text(self._processor, self.family, text, prompt.images)
        except ValueError as error:
            raise SampleError(f"its processor refuses it: {error}") from error

    def with_pictures(self, pictures: Sequence[Image.Image]) -> EncodedPrompt:
        """A question with these pictures: any, since no family's features depend on it."""
        from harness.models.prompt_encoding import encode_text

        text = self._render(Prompt(text=_QUESTION, question=_QUESTION, images=tuple(pictures)))
        return encode_text(self._processor, self.family, text, pictures)

    def _row(self, example: Example, target: Target) -> Row:
        """A row, made once for all epochs, as far as all of them are not too many."""
        sample = example.sample
        key = (sample.id, sample.question, sample.choices, *map(id, sample.images), target)
        row = self._rows.get(key)
        if row is None:
            row = self._new_row(example, target)
            if self._kept_tokens + len(row.ids) <= MAX_KEPT_TOKENS:
                self._kept_tokens += len(row.ids)
                self._rows[key] = row
        return row

    def _new_row(self, example: Example, target: Target) -> Row:
        prompt = self.prompt(example.sample, target.prefix)
        ids = prompt.inputs["input_ids"][0].tolist()
        answer, weights = self.target_tokens(self._spaced(target, ids[-1]))
        return Row(
            ids=(*ids, *answer),
            labels=(*[IGNORED] * len(ids), *answer),
            weights=(*[0.0] * len(ids), *weights),
            prompt=prompt,
            prefix=target.prefix,
        )

    def _spaced(self, target: Target, last: int) -> Target:
        """The target without the space that it begins with, where the prompt's last token is one:
        many templates end in a line break."""
        first, *more = target.pieces
        if not self._processor.tokenizer.decode([last]).isspace():
            return target
        return replace(target, pieces=(replace(first, text=first.text.lstrip(" ")), *more))

    def target_tokens(self, target: Target) -> tuple[list[int], list[float]]:
        """The tokens of a target and the end token, and their weights."""
        pieces = [(self._escape(piece.text), piece.weight) for piece in target.pieces]
        tokenizer = self._processor.tokenizer
        tokens = tokenizer(
            "".join(text for text, _ in pieces),
            add_special_tokens=False,
            return_offsets_mapping=True,
        )
        ends = list(accumulate(len(text) for text, _ in pieces))
        last = len(pieces) - 1
        weights = [
            pieces[min(bisect_right(ends, start), last)][1] for start, _ in tokens["offset_mapping"]
        ]
        answer = [*tokens["input_ids"], tokenizer.eos_token_id]
        return answer, _scaled([*weights, pieces[-1][1]], target.share)


def without_pixels(prompt: EncodedPrompt) -> EncodedPrompt:
    """The prompt without what only the vision encoder takes and takes much memory."""
    inputs: Mapping[str, Any] = {n: t for n, t in prompt.inputs.items() if "pixel" not in n}
    return replace(prompt, inputs=inputs)


def _scaled(weights: list[float], share: float | None) -> list[float]:
    """The weights, scaled to add up to `share`; None: as they are."""
    if share is None:
        return weights
    factor = share / sum(weights)
    return [weight * factor for weight in weights]
