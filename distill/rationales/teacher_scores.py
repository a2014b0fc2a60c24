"""The teacher in memory, for an objective whose targets are written while the student is trained:
its logits at the tokens of any answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.examples import Example
from distill.questions import Questions
from distill.rationales.collect import Teaching
from distill.rationales.logit_collection import (
    find_teacher,
    refuse_server,
    target_logits,
)
from distill.rationales.prompt import PROMPT_VERSION, teacher_task
from distill.rationales.vocabularies import share_tokens
from distill.training.features import UNUSABLE
from harness.core.errors import ContextError, SampleError

if TYPE_CHECKING:
    from torch import Tensor


class TeacherScores:
    """`scores(example, tokens)`: the teacher's logits at each token of an answer, (T, V)."""

    def __init__(self, teaching: Teaching, questions: Questions, base: Path) -> None:
        """Find the teacher; its weights are read with the first answer.

        Args:
            base: the student before training.

        Raises:
            HarnessError: the teacher is not here, or its vocabulary is not the student's.
        """
        refuse_server(teaching)
        self._source = find_teacher(teaching)
        self._shared = share_tokens(self._source, base)
        self._task = teacher_task(questions.data.task, teaching.options.inputs)
        self._inputs = sorted(teaching.options.inputs)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What the scores depend on."""
        return {
            "teacher": self._source.weights_hash,
            "dtype": self._source.dtype,
            "teacher_input": self._inputs,
            "prompt_version": PROMPT_VERSION,
            "vocabulary": self._shared.hash,
            **self._source.early_fingerprint,
        }

    @cached_property
    def _model(self) -> Any:
        return self._source.load()

    def check(self, example: Example, tokens: int) -> None:
        """Refuse, without computing anything, a question after which an answer of `tokens` tokens
        does not fit into the teacher's context, or whose picture cannot be used; raises
        SampleError."""
        try:
            prompt = self._task.prompt(example.sample, "structured")
        except SampleError as error:
            raise SampleError(f"{UNUSABLE}: {error}") from error
        length, context = self._model.count(prompt) + tokens, self._model.context
        if context is not None and length > context:
            raise SampleError(f"too long for the teacher: {ContextError(length, context)}")

    def __call__(self, example: Example, tokens: Sequence[int]) -> Tensor:
        prompt = self._task.prompt(example.sample, "structured")
        logits = target_logits(self._model, prompt, self._shared.by_teacher(tokens))
        return self._shared.by_student(logits.float()).cpu()
