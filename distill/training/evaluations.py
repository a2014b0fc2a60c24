"""Evaluation while a student trains: its answers to the validation questions, with their pictures
and with grey ones, its loss there, and which of its states is kept.

    OUT/validation_log.jsonl     one line for each evaluation
    OUT/best/step-00000040/      the weights that were best then; older ones stay for as long as a
                                 checkpoint is there from which training would need them

Several processes answer a share of the questions each, and all of them know every line.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from distill.config import DistillConfig
from distill.examples import Example
from distill.layout import BEST, EVALUATIONS
from distill.objectives import objective_of
from distill.quality.sight import grey
from distill.training import checkpointing
from distill.training.answering import answering, predictions
from distill.training.checkpointing import Log
from distill.training.evaluation_log import Answered, Pair, best_of, in_words, line_of
from distill.training.parallel import Processes
from distill.training.record import TrainingRun
from distill.training.student import Student
from distill.training.tracked import log_evaluation
from distill.training.validation import Validation
from harness.core.errors import DataError, SampleError
from harness.core.types import Model, Task

log = logging.getLogger(__name__)

_SPARE_TOKENS = 32


class Evaluations:
    """The evaluations of a run, those of earlier sessions included."""

    def __init__(
        self,
        run: TrainingRun,
        student: Student,
        validation: Validation,
        *,
        task: Task,
        steps: int,
        processes: Processes,
    ) -> None:
        self._run = run
        self._student = student
        self._validation = validation
        self._task = task
        self._steps = steps
        self._processes = processes
        self._log = Log(run.out / EVALUATIONS)
        self._max_new_tokens = _max_new_tokens(student, validation.examples, run.config)
        self._lines: list[dict[str, Any]] = []

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The best evaluation so far, the earliest of equal ones."""
        return best_of(self._lines, self._run.config)

    @property
    def exhausted(self) -> bool:
        """Whether training ends because nothing has become better for long enough."""
        patience, best = self._run.config.eval_patience, self.best
        if patience is None or best is None:
            return False
        later = [line for line in self._lines if line["step"] > best["step"]]
        return len(later) >= patience

    def rewind(self, step: int) -> None:
        """Forget the evaluations after `step`, which a checkpoint has done."""
        self._lines = self._log.rewind([n for n in range(1, step + 1) if self._is_due(n)])

    def _is_due(self, step: int) -> bool:
        every = self._run.config.eval_every
        assert every is not None
        return step % every == 0 or step == self._steps

    def after(self, step: int) -> None:
        """Evaluate after `step`, if it is time; all processes call it."""
        if not self._is_due(step):
            return
        started = time.perf_counter()
        line = self._evaluate(step)
        line["seconds"] = round(time.perf_counter() - started, 6)
        line["memory"] = self._processes.peak_memory()
        lines = [*self._lines, line]
        line["best"] = best_of(lines, self._run.config) is line
        learned = self._student.learned(wanted=self._processes.first) if line["best"] else {}
        if self._processes.first:
            with self._run.writing():
                if line["best"]:
                    checkpointing.save_weights(self._run.out / BEST, step, learned)
                self._log.append(line)
            for text in in_words(line):
                log.info("%s", text)
            samples = {e.sample.id: e.sample for e in self._validation.examples}
            log_evaluation(self._run.trackers, line, samples)
        self._lines = lines

    def _evaluate(self, step: int) -> dict[str, Any]:
        whole = list(enumerate(self._validation.examples))
        share = whole[self._processes.rank :: self._processes.count]
        with answering(self._student) as model:
            pairs = self._answer(model, [example for _, example in share])
        numbered = [(n, pair) for (n, _), pair in zip(share, pairs, strict=True)]
        found = dict(each for some in self._processes.gather(numbered) for each in some)
        return {"step": step, **line_of([found[n] for n, _ in whole], self._task)}

    def _answer(self, model: Model, examples: Sequence[Example]) -> list[Pair]:
        pictured = [example for example in examples if _is_readable(example)]
        blank = {each.sample.id: grey(each) for each in pictured}
        own = self._answered(model, examples)
        others = dict(zip(blank, self._answered(model, list(blank.values())), strict=True))
        return [
            (each, others.get(example.sample.id))
            for example, each in zip(examples, own, strict=True)
        ]

    def _answered(self, model: Model, examples: Sequence[Example]) -> list[Answered]:
        found = predictions(
            model,
            [example.sample for example in examples],
            self._task,
            style=objective_of(self._run.config).style,
            max_new_tokens=self._max_new_tokens,
        )
        losses = [_loss(self._student, example) for example in examples]
        return [
            Answered(prediction=prediction, loss=loss, weight=weight)
            for prediction, (loss, weight) in zip(found, losses, strict=True)
        ]

    def read_best(self) -> Mapping[str, torch.Tensor]:
        """The weights of the best student, as `Student.learned` gives them; raises DataError."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        best = self.best
        assert best is not None
        path = checkpointing.path_of(self._run.out / BEST, best["step"]) / checkpointing.MODEL
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise DataError(
                f"{path}, the weights of the best student, cannot be read: {error}.",
                remedy="Remove the checkpoints of later steps and run the same command again, or "
                "use --fresh.",
            ) from error

    def prune(self) -> None:
        """Remove the weights that neither this session needs nor one that resumes from any of the
        checkpoints."""
        reached = [*checkpointing.steps(self._run.checkpoints), self._steps]
        needed = set()
        for step in reached:
            best = best_of([line for line in self._lines if line["step"] <= step], self._run.config)
            if best is not None:
                needed.add(checkpointing.path_of(self._run.out / BEST, best["step"]))
        for path in (self._run.out / BEST).glob("*step-*"):
            if path not in needed:
                shutil.rmtree(path)

    @property
    def losses(self) -> list[tuple[int, float]]:
        """(step, loss) of the evaluations that have one."""
        return [(line["step"], line["loss"]) for line in self._lines if line["loss"] is not None]

    def describe(self) -> dict[str, Any]:
        """What the record says of them."""
        best, last = self.best, self._lines[-1]
        assert best is not None
        names = ("step", "metric", "title", "unit", "score", "loss", "sight")
        return {
            "questions": len(self._validation.examples),
            "source": self._validation.source,
            "split": self._validation.split,
            "evaluations": len(self._lines),
            "best_by": self._run.config.best_by,
            "best": {name: best[name] for name in names},
            "last": {name: last[name] for name in names},
            "stopped_early": self.exhausted and last["step"] < self._steps,
            "max_new_tokens": self._max_new_tokens,
        }


def _loss(student: Student, example: Example) -> tuple[float | None, float]:
    """The objective's loss of one example, and the weight of its target tokens."""
    if student.writes_answers:
        return None, 0.0  # there is no target until it answers
    try:
        student.length(example)
        batch = student.encode([example])
    except SampleError:
        return None, 0.0
    return float(student.plain_loss(batch)), batch.weight


def _is_readable(example: Example) -> bool:
    """Whether the question has pictures, all of which can be read."""
    with contextlib.suppress(SampleError):
        for image in example.sample.images:
            image.decode()
        return bool(example.sample.images)
    return False


def _max_new_tokens(student: Student, examples: Sequence[Example], config: DistillConfig) -> int:
    """Twice as many tokens as the longest target, and some more: a student that has not learned to
    end its answers would take long. Without targets as many as it may write."""
    longest = 0
    for example in examples:
        try:
            longest = max(longest, *(len(row.answer) for row in student.rows(example)))
        except SampleError:
            continue
    spared = 2 * longest + _SPARE_TOKENS if longest else config.max_new_tokens
    return min(config.max_new_tokens, spared)
