"""The training loop: encode a batch, compute the loss, step the optimizer, log, save checkpoints.

With several processes each takes its share of every batch, and the result is that of one.
"""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from distill.examples import Example
from distill.layout import LOG
from distill.training import checkpointing
from distill.training.batches import Batch
from distill.training.checkpointing import Log
from distill.training.evaluations import Evaluations
from distill.training.parallel import Processes
from distill.training.record import TrainingRun
from distill.training.schedule import learning_rate
from distill.training.state import TrainingState
from distill.training.student import Student
from distill.training.tracked import begin, log_step
from harness.core.errors import Exit, HarnessError
from harness.core.interrupts import Interrupted, interrupts
from harness.core.progress import Progress

log = logging.getLogger(__name__)

_STOPS = (signal.SIGINT, signal.SIGTERM)


class TrainingLoop:
    """The optimizer steps that remain, from the newest checkpoint on."""

    def __init__(
        self,
        run: TrainingRun,
        student: Student,
        steps: Sequence[Sequence[Example]],
        processes: Processes,
        evaluations: Evaluations | None = None,
    ) -> None:
        """Args: evaluations: while it trains; None: there are none."""
        self._run = run
        self._evaluations = evaluations
        self._student = student
        self._steps = steps
        self._processes = processes
        self._state = TrainingState(student, steps, run.config, processes)
        self._log = Log(run.out / LOG)
        self._done = self._saved = 0

    def run(self) -> list[float]:
        """Take the steps; returns the loss of every step, those of earlier sessions included."""
        self._resume()
        losses = [line["loss"] for line in self._rewind()]
        if self._is_over:
            return losses
        try:
            self._track()
            with self._interrupts_held(), self._progress() as bar:
                batches = self._encode(self._done)
                while not self._is_over:
                    self._stop_together()
                    # A step is taken whole or not at all.
                    with interrupts.shielded():
                        line, batches = self._step(batches or self._encode(self._done))
                        self._keep(line)
                    losses.append(line["loss"])
                    bar.advance(tokens=line["tokens"], loss=line["loss"])
        except Interrupted:
            if not self._processes.several and self._done > self._saved:
                with interrupts.shielded():
                    self._save()
            log.info("Interrupted; run the same command again to resume.")
            raise
        return losses

    @property
    def _is_over(self) -> bool:
        if self._evaluations is not None and self._evaluations.exhausted:
            return True
        return self._done == len(self._steps)

    def _resume(self) -> None:
        """Load the newest checkpoint, if there is one."""
        path = checkpointing.latest(self._run.checkpoints)
        if path is not None:
            like = self._state.parameters if self._processes.sharded else None
            snapshot = checkpointing.load(path, like=like)
            self._state.restore(snapshot, path)
            self._done = self._saved = snapshot.step

    def _rewind(self) -> list[dict[str, Any]]:
        with self._processes.accelerator.main_process_first():
            if self._evaluations is not None:
                self._evaluations.rewind(self._done)
            return self._log.rewind(range(1, self._done + 1))

    def _interrupts_held(self) -> contextlib.AbstractContextManager[None]:
        """Of several processes, one that stopped on its own would leave the others waiting."""
        return interrupts.shielded() if self._processes.several else contextlib.nullcontext()

    def _track(self) -> None:
        """Start the trackers."""
        run, examples = self._run, [example for step in self._steps for example in step]
        begin(run.trackers, run.config, examples, record=run.record, step=self._done)

    def _progress(self) -> Progress:
        return self._run.progress("training", total=len(self._steps), done=self._done)

    def _keep(self, line: Mapping[str, Any]) -> None:
        """Log a step that was taken; evaluate, and write a checkpoint, where that is due."""
        if self._processes.first:
            with self._run.writing():
                self._log.append(line)
            log_step(self._run.trackers, line)
        self._done += 1
        if self._evaluations is not None:
            self._evaluations.after(self._done)
        if self._done % self._run.config.checkpoint_every == 0 or self._is_over:
            self._save()

    def _stop_together(self) -> None:
        """Save and raise Interrupted if any of several processes was asked to stop."""
        if not self._processes.several:
            return
        ours = interrupts.pending
        asked = self._processes.sum(*(float(ours == each) for each in _STOPS))
        if any(asked):
            if self._done > self._saved:
                self._save()
            raise Interrupted(next(each for each, n in zip(_STOPS, asked, strict=True) if n))

    def _encode(self, place: int) -> list[Batch]:
        """The share that this process takes of each micro-batch of the step at `place`."""
        if place >= len(self._steps):
            return []
        step, size = self._steps[place], self._run.config.micro_batch_size
        batches = []
        for start in range(0, len(step), size):
            whole = step[start : start + size]
            share = whole[self._processes.rank :: self._processes.count]
            # Every process must take part in every pass: without a share, with nothing to learn.
            batches.append(
                self._student.encode(share) if share else self._student.encode(whole[:1]).muted()
            )
        return batches

    def _step(self, batches: list[Batch]) -> tuple[dict[str, Any], list[Batch]]:
        """One optimizer step; returns its line for the log, and the batches of the next."""
        config, optimizer = self._run.config, self._state.optimizer
        step, started = self._done + 1, time.perf_counter()
        rate = learning_rate(step, len(self._steps), config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        # Each token counts the same, in whichever micro-batch and process it is.
        weight, tokens, targets = self._processes.sum(
            sum(batch.weight for batch in batches),
            sum(batch.tokens for batch in batches),
            sum(batch.targets for batch in batches),
        )
        loss = self._backward(batches, weight)
        # While an accelerator is still at work, unless the student as it will be writes answers.
        upcoming = [] if self._student.writes_answers else self._encode(step)
        norm = self._clip()
        while not math.isfinite(norm) and self._state.loss_scale.shrink():
            optimizer.zero_grad()
            loss = self._backward(batches, weight)
            norm = self._clip()
        (loss_of_all,) = self._processes.sum(float(loss))
        line = {
            "step": step,
            "loss": loss_of_all,
            "lr": rate,
            "grad_norm": norm,
            "tokens": round(tokens),
            "target_tokens": round(targets),
        }
        self._refuse_not_finite(line)
        optimizer.step()
        optimizer.zero_grad()
        self._state.loss_scale.step_taken()
        line["seconds"] = round(time.perf_counter() - started, 6)
        line["memory"] = self._processes.peak_memory()
        return line, upcoming

    def _backward(self, batches: Sequence[Batch], weight: float) -> torch.Tensor | float:
        """Accumulate the gradients of a step; returns this process's part of its loss.

        Args:
            weight: of all target tokens of the step, over all processes.
        """
        accelerator = self._processes.accelerator
        parts: list[torch.Tensor] = []
        for number, batch in enumerate(batches, start=1):
            # Where gradients are sharded, keeping them whole until the last pass would cost the
            # memory that sharding saves.
            synced = self._processes.sharded or number == len(batches)
            with contextlib.nullcontext() if synced else accelerator.no_sync(self._student.module):
                loss = self._student.loss(batch) * (batch.weight / weight)
                # The mean over processes is taken of gradients, and the sum is wanted.
                accelerator.backward(loss * (self._processes.count * self._state.loss_scale.value))
                parts.append(loss.detach())
        return sum(parts)

    def _clip(self) -> float:
        """Undo the loss's scale and clip the gradient; returns its norm before that."""
        parameters = list(self._state.parameters.values())
        self._state.loss_scale.unscale(parameters)
        clip = self._run.config.clip
        norm = self._processes.accelerator.clip_grad_norm_(
            parameters, clip if clip is not None else math.inf
        )
        return float(norm)

    def _refuse_not_finite(self, line: Mapping[str, Any]) -> None:
        wrong = [name for name in ("loss", "grad_norm") if not math.isfinite(line[name])]
        if wrong:
            names = [example.sample.id for example in self._steps[line["step"] - 1]]
            raise HarnessError(
                f"Step {line['step']}: {wrong[0]} is {line[wrong[0]]}.",
                known=f"Samples: {', '.join(names)}. {self._run.last_checkpoint()}",
                remedy="Lower the learning rate, clip the gradient, or train in bfloat16 or "
                "float32; a changed setting needs --fresh.",
                code=Exit.UNEXPECTED,
            )

    def _save(self) -> None:
        """Write a checkpoint; all processes call it."""
        processes = self._processes
        processes.wait()
        self._saved = self._done
        if processes.first or processes.sharded:
            snapshot = self._state.snapshot(self._done)
            folder, keep = self._run.checkpoints, self._run.config.keep_checkpoints
            with self._run.writing():
                if processes.sharded:
                    checkpointing.save_shards(
                        folder, snapshot, keep=keep, first=processes.first, wait=processes.wait
                    )
                else:
                    checkpointing.save(folder, snapshot, keep=keep)
            if self._evaluations is not None and processes.first:
                self._evaluations.prune()
        processes.wait()  # within a step a wait this long would pass for a lost process
