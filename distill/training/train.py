"""The story of a training run: refuse what does not fit, find what can be learned, learn it step by
step, leave a student behind.

    OUT/distill.json        what was trained on what, and whether it is complete
    OUT/training_log.jsonl  one line for each optimizer step
    OUT/loss.svg            the same as a picture, Figure 3
    OUT/checkpoints/        what an interrupted run goes on from
    OUT/features/           image features, for as long as the encoder is frozen
    OUT/student/            the trained model in its published layout

The loop runs on accelerate: with several processes each takes its share of every batch, and the
result is that of one. All of them see the run's folder; the first one writes it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.config import DistillConfig
from distill.examples import Example, fingerprint
from distill.layout import CARD, CHECKPOINTS, CONFIG, CURVE, FEATURES, LOG, STUDENT, TRAINING
from distill.training import checkpointing
from distill.training.card import Sources, card
from distill.training.checkpointing import Log, Snapshot
from distill.training.curve import loss_svg
from distill.training.estimate import Estimate, estimate
from distill.training.schedule import learning_rate, order
from harness.checkpoints.folder import weights_fingerprint
from harness.core import environment, processes, timing
from harness.core.errors import DataError, Exit, HarnessError, SampleError
from harness.core.files.atomic import write_atomically
from harness.core.files.regular import MAX_RECORD, read_regular
from harness.core.files.set_aside import set_aside
from harness.core.interrupts import Interrupted, interrupts
from harness.core.progress import Make, Silent
from harness.core.types import Task
from tasks import scienceqa

if TYPE_CHECKING:
    import torch

    from distill.training.student import Batch, MoondreamStudent

__all__ = ["Estimate", "Sources", "check_base", "check_here", "estimate", "part", "train"]

log = logging.getLogger(__name__)

FORMAT = 1
_OURS = (TRAINING, LOG, CURVE, CHECKPOINTS, STUDENT)
"""What is there of a run, but for its image features, which another may use as well."""
_PATIENCE = timedelta(hours=2)
"""How long processes wait for each other before they take one for lost: for all pictures to be
encoded, for a checkpoint to be written."""


def check_base(base: Path) -> None:
    """Refuse a student that is no Moondream, before anything takes long; raises HarnessError."""
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    import harness.models  # noqa: F401  # makes Moondream known to the auto classes
    from harness.checkpoints import pretrained
    from harness.models.moondream.revisions import refuse_other_revisions

    try:
        kind = pretrained.load(AutoConfig, base).model_type
        if kind == "moondream1":
            pretrained.load(AutoProcessor, base)
            refuse_other_revisions(base)
            pretrained.check_sizes(AutoModelForImageTextToText, base)
    except pretrained.UNUSABLE as error:
        raise pretrained.unusable(base, "moondream1", error) from error
    if kind != "moondream1":
        raise HarnessError(
            f"{base} is a {kind}; only Moondream can be distilled into.", code=Exit.MISSING
        )


def check_here(config: DistillConfig, device: str) -> None:
    """Refuse what lacks a package or a device here; raises HarnessError."""
    if config.lora_rank is not None and not find_spec("peft"):
        raise HarnessError("LoRA needs the package peft.", remedy="pip install peft")
    if config.optimizer == "adam8bit":
        if not find_spec("bitsandbytes"):
            raise HarnessError(
                "8-bit Adam needs the package bitsandbytes, and an NVIDIA GPU.",
                remedy="pip install bitsandbytes, or choose the optimizer adam, with more memory.",
            )
        if not device.startswith("cuda"):
            raise HarnessError(
                f"8-bit Adam needs an NVIDIA GPU; this run is on {device}.",
                remedy="Choose the optimizer adam.",
            )


def train(
    examples: Sequence[Example],
    *,
    base: Path,
    out: Path,
    config: DistillConfig,
    device: str = "cpu",
    task: Task = scienceqa.TASK,
    sources: Sources | None = None,
    features: Path | None = None,
    fresh: bool = False,
    progress: Make = Silent,
) -> Path:
    """Train a student on `examples`, or go on with a run that was interrupted; returns its folder.

    A run that is complete is left as it is.

    Args:
        base: the checkpoint to begin from, in Moondream's published layout.
        out: the run's folder; see above.
        device: as torch names it; with several processes only its kind, and each has its own.
        task: words the questions.
        sources: what the model card says of the data, the teacher and their licences.
        features: folder of image features, to share it between runs; None: in `out`.
        fresh: begin anew; a run that is there is moved aside before the first step.

    Raises:
        HarnessError: the run in `out` was made from something else, and the message says from what;
            nothing can be learned; the loss is no longer finite; the disk is full. In the last two
            cases the newest checkpoint is named.
        Interrupted: asked to stop; a checkpoint has been written.
    """
    accelerator = _accelerator(config, device)
    if accelerator.num_processes > 1:
        ours = accelerator.device
        device = "cpu" if ours.type == "cpu" else str(ours)
    check_base(base)
    check_here(config, device)
    alone = accelerator.is_main_process
    with checkpointing.locked(out) if alone else contextlib.nullcontext():
        known = {
            "data": f"sha256:{fingerprint(examples, config, task)}",
            "weights": weights_fingerprint(base),
            **config.outcome(),
        }
        record = None if fresh else _read_record(out)
        if record is not None:
            _refuse_mismatch(record["fingerprint"], known, out)
            if record["status"] == "complete" and (out / STUDENT).is_dir():
                return out / STUDENT
        elif not fresh and checkpointing.latest(out / CHECKPOINTS):
            raise HarnessError(
                f"{out} has checkpoints, but no {TRAINING} to tell what they are of.",
                remedy="Use --fresh to move them aside.",
            )
        run = _Run(
            out=out,
            config=config,
            sources=sources or Sources(base=base.name),
            record={
                "format": FORMAT,
                "status": "running",
                "fingerprint": known,
                "config": config.to_json(),
                "base": base.name,
                "student": STUDENT,
                "started": record["started"] if record else _now(),
                "finished": None,
                "sessions": [*(record or {}).get("sessions", ())],
            },
            progress=progress if alone else Silent,
            fresh=fresh,
        )
        with _together(accelerator, run):
            return _train(
                run,
                examples,
                base=base,
                task=task,
                features=features or out / FEATURES,
                accelerator=accelerator,
                device=device,
            )


def part() -> None:
    """End what processes had in common, where they trained together, so that each can exit."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def _accelerator(config: DistillConfig, device: str) -> Any:
    """Accelerate, with the settings of a user's `accelerate config` that would change what is
    computed left out or refused."""
    from accelerate import Accelerator  # type: ignore[import-untyped]  # it has no types
    from accelerate.utils import (  # type: ignore[import-untyped]
        GradientAccumulationPlugin,
        InitProcessGroupKwargs,
    )

    place = processes.here()
    if config.parallel == "fsdp2" and not place.launched:
        raise HarnessError(
            "--parallel fsdp2 spreads the model over several processes, and there is one.",
            remedy="torchrun --no-python --nproc-per-node 2 harness distill train --parallel fsdp2",
        )
    processes.own_device(device)  # refuses one for all; accelerate finds the same
    for variable in (
        "ACCELERATE_USE_FSDP",
        "ACCELERATE_USE_DEEPSPEED",
        "ACCELERATE_USE_MEGATRON_LM",
    ):
        if os.environ.get(variable, "").lower() in {"1", "true"}:
            raise HarnessError(
                f"accelerate's settings ask for another way of training ({variable}).",
                remedy="Leave it out of accelerate launch, and say --parallel ddp or fsdp2.",
            )
    accelerator = Accelerator(
        cpu=device.startswith("cpu"),
        mixed_precision="no",  # the student's own
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )
    if accelerator.num_processes != place.processes:
        raise HarnessError(
            f"{place.processes} processes were launched, and on {device} each would train alone.",
            remedy="--device cpu, or a machine with as many accelerators.",
        )
    return accelerator


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What every step of the run needs to know."""

    out: Path
    config: DistillConfig
    sources: Sources
    record: dict[str, Any]
    progress: Make
    fresh: bool
    """Move what is in `out` aside once there is something to train."""

    @property
    def checkpoints(self) -> Path:
        return self.out / CHECKPOINTS

    def write_record(self) -> None:
        text = json.dumps(self.record, ensure_ascii=False, indent=1) + "\n"
        write_atomically(self.out / TRAINING, text.encode())

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turns a full disk into words."""
        from safetensors import SafetensorError

        try:
            yield
        except (OSError, SafetensorError) as error:
            raise HarnessError(
                f"{self.out} cannot be written to: {error}.",
                known=self.last_good(),
                remedy="Make room and run the same command again: it goes on from there.",
                code=Exit.UNEXPECTED,
            ) from error

    def last_good(self) -> str:
        """Where the run can be taken up."""
        path = checkpointing.latest(self.checkpoints)
        return f"Last good checkpoint: {path}." if path else "There is no checkpoint yet."


def _train(
    run: _Run,
    examples: Sequence[Example],
    *,
    base: Path,
    task: Task,
    features: Path,
    accelerator: Any,
    device: str,
) -> Path:
    """What remains of the run, its student included."""
    import torch

    from distill.training.student import MoondreamStudent

    config = run.config
    on_gpu = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=on_gpu):
        torch.manual_seed(config.seed)
        count = accelerator.num_processes
        student = MoondreamStudent(
            base, config, task, features=features, device=device, processes=count
        )
        with run.writing():
            if count > 1:
                # Each encodes a share of the pictures, then all read what all have kept.
                _usable(student, examples[accelerator.process_index :: count], run.progress)
                accelerator.wait_for_everyone()
            usable, lengths, left_out = _usable(
                student, examples, run.progress if count == 1 else Silent
            )
        if accelerator.is_main_process:
            for name, reason in left_out:
                log.warning("%s is left out: %s", name, reason)
        if not usable:
            raise HarnessError(
                "None of the examples can be learned.",
                known="; ".join(f"{n} {why}" for why, n in _reasons(left_out).items()),
                code=Exit.MISSING,
            )
        if run.fresh:
            _set_aside(run, accelerator)
        steps = order(lengths, config)
        run.record["steps"] = len(steps)
        run.record["counts"] = {
            "examples": len(examples),
            "used": len(usable),
            "left_out": _reasons(left_out),
            "left_out_ids": dict(left_out),
            "by_topic": dict(Counter(e.sample.topic for e in usable).most_common()),
        }
        run.record["image_tokens"] = student.image_tokens
        run.record["versions"] = environment.describe(device)
        run.record["sessions"].append(
            {
                "started": _now(),
                "from_step": checkpointing.latest_step(run.checkpoints) + 1,
                "processes": count,
                "parallel": config.parallel if processes.here().launched else None,
                "device": device,
            }
        )
        if config.micro_batch_size < count and accelerator.is_main_process:
            log.warning(
                "%d processes, and %d samples a pass: some have nothing to do.",
                count,
                config.micro_batch_size,
            )
        loop = _Loop(run, student, [[usable[i] for i in s] for s in steps], accelerator, device)
        if accelerator.is_main_process:
            with run.writing():
                checkpointing.clean(run.checkpoints)
                run.write_record()
        losses = loop.run()
    learned = student.learned(wanted=accelerator.is_main_process)
    if accelerator.is_main_process:
        with run.writing():
            _finish(run, student, losses, learned=learned)
    accelerator.wait_for_everyone()
    return run.out / STUDENT


def _set_aside(run: _Run, accelerator: Any) -> None:
    """Move the run that was there aside, before any process looks for its checkpoints."""
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        with run.writing():
            if aside := set_aside((run.out / name for name in _OURS), run.out):
                log.info("The run that was there is now %s", aside)
    accelerator.wait_for_everyone()


@contextlib.contextmanager
def _together(accelerator: Any, run: _Run) -> Iterator[None]:
    """Turns the loss of another process into words: what it leaves in this one is a broken
    connection."""
    from torch.distributed import DistError

    try:
        yield
    except RuntimeError as error:
        broken = isinstance(error, DistError) or "gloo" in str(error)
        if accelerator.num_processes == 1 or not broken:
            raise
        raise HarnessError(
            "Another process of this training is gone.",
            known=f"{str(error).splitlines()[0][:300]} {run.last_good()}",
            remedy="The same command goes on from there, with any number of processes.",
            code=Exit.UNEXPECTED,
        ) from error


def _usable(
    student: MoondreamStudent, examples: Sequence[Example], progress: Make
) -> tuple[list[Example], list[int], list[tuple[str, str]]]:
    """The examples that can be learned, their lengths in tokens, and (id, reason) of the rest."""
    usable, lengths, left_out = [], [], []
    with progress("images", total=len(examples), done=0) as bar:
        for example in examples:
            try:
                lengths.append(student.length(example))
                usable.append(example)
            except SampleError as error:
                left_out.append((example.sample.id, str(error)))
            bar.advance()
    return usable, lengths, left_out


def _reasons(left_out: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Reason -> examples, without what is particular to each."""
    return dict(Counter(reason.partition(": ")[0] for _, reason in left_out))


class _Loop:
    """The steps, from wherever the last process left off."""

    def __init__(
        self,
        run: _Run,
        student: MoondreamStudent,
        steps: Sequence[Sequence[Example]],
        accelerator: Any,
        device: str,
    ) -> None:
        self._run = run
        self._student = student
        self._steps = steps
        self._accelerator = accelerator
        self._device = device
        self._several = accelerator.num_processes > 1
        # Accelerate wraps a model in FSDP on accelerators only. Sharded by torch itself, the same
        # code runs, and is tested, on CPUs.
        self._sharded = self._several and run.config.parallel == "fsdp2"
        if self._sharded:
            student.shard(accelerator.num_processes)
        self._named = {n: p for n, p in student.module.named_parameters() if p.requires_grad}
        optimizer = _optimizer(list(student.trainable()), run.config)
        if self._sharded:
            self._optimizer = accelerator.prepare(optimizer, device_placement=[False])
        else:
            student.module, self._optimizer = accelerator.prepare(
                student.module, optimizer, device_placement=[False, False]
            )
        self._log = Log(run.out / LOG)
        self._done = self._saved = 0

    def run(self) -> list[float]:
        """The loss of every step, those of earlier processes included."""
        total = len(self._steps)
        path = checkpointing.latest(self._run.checkpoints)
        if path is not None:
            self._restore(
                checkpointing.load(path, like=self._named if self._sharded else None), path
            )
        losses = [line["loss"] for line in self._rewind()]
        if self._done == total:
            return losses
        # One of several that stopped on its own would leave the others waiting for it.
        together = interrupts.shielded() if self._several else contextlib.nullcontext()
        try:
            with together, self._run.progress("training", total=total, done=self._done) as bar:
                batches = self._encode(self._done)
                while self._done < total:
                    self._stop_together()
                    # A step is taken whole or not at all.
                    with interrupts.shielded():
                        line, batches = self._step(batches)
                        self._keep(line)
                    losses.append(line["loss"])
                    bar.advance(tokens=line["tokens"], loss=line["loss"])
        except Interrupted:
            if not self._several and self._done > self._saved:
                with interrupts.shielded():
                    self._save()
            log.info("Interrupted; the same command goes on where this one stopped.")
            raise
        return losses

    def _keep(self, line: Mapping[str, Any]) -> None:
        """Log a step that was taken, and write a checkpoint where one is due."""
        if self._accelerator.is_main_process:
            with self._run.writing():
                self._log.append(line)
        self._done += 1
        if self._done % self._run.config.checkpoint_every == 0 or self._done == len(self._steps):
            self._save()

    def _stop_together(self) -> None:
        """Save and raise Interrupted if any of several processes was asked to stop."""
        if not self._several:
            return
        ours = interrupts.pending
        asked = self._sum(*(float(ours == each) for each in _STOPS))
        if any(asked):
            if self._done > self._saved:
                self._save()
            raise Interrupted(next(each for each, n in zip(_STOPS, asked, strict=True) if n))

    def _encode(self, place: int) -> list[Batch]:
        """What this process takes of each micro-batch of the step at `place`."""
        if place >= len(self._steps):
            return []
        step, size = self._steps[place], self._run.config.micro_batch_size
        rank, processes = self._accelerator.process_index, self._accelerator.num_processes
        batches = []
        for start in range(0, len(step), size):
            whole = step[start : start + size]
            share = whole[rank::processes]
            # Every process must take part in every pass: without a share, with nothing to learn.
            batches.append(
                self._student.encode(share) if share else self._student.encode(whole[:1]).muted()
            )
        return batches

    def _step(self, batches: list[Batch]) -> tuple[dict[str, Any], list[Batch]]:
        """One optimizer step; returns its line for the log, and the batches of the next."""
        config, accelerator = self._run.config, self._accelerator
        step, started = self._done + 1, time.perf_counter()
        rate = learning_rate(step, len(self._steps), config)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        # Each token counts the same, in whichever micro-batch and process it is.
        weight, tokens, targets = self._sum(
            sum(batch.weight for batch in batches),
            sum(batch.tokens for batch in batches),
            sum(batch.targets for batch in batches),
        )
        parts: list[torch.Tensor] = []
        for number, batch in enumerate(batches, start=1):
            # Where gradients are sharded, keeping them whole until the last pass would cost the
            # memory that sharding saves.
            synced = self._sharded or number == len(batches)
            with contextlib.nullcontext() if synced else accelerator.no_sync(self._student.module):
                loss = self._student.loss(batch) * (batch.weight / weight)
                # The mean over processes is taken of gradients, and the sum is wanted.
                accelerator.backward(loss * accelerator.num_processes)
                parts.append(loss.detach())
        upcoming = self._encode(step)  # while an accelerator is still at work
        norm = accelerator.clip_grad_norm_(
            list(self._named.values()), config.clip if config.clip is not None else math.inf
        )
        (loss_of_all,) = self._sum(float(sum(parts)))
        line = {
            "step": step,
            "loss": loss_of_all,
            "lr": rate,
            "grad_norm": float(norm),
            "tokens": round(tokens),
            "target_tokens": round(targets),
        }
        self._refuse_not_finite(line)
        self._optimizer.step()
        self._optimizer.zero_grad()
        line["seconds"] = round(time.perf_counter() - started, 6)
        line["memory"] = self._memory()
        return line, upcoming

    def _sum(self, *values: float) -> Sequence[float]:
        """Each of `values` summed over all processes."""
        if not self._several:
            return values
        import torch

        tensor = torch.tensor(values, dtype=torch.float32, device=self._device)
        summed: list[float] = self._accelerator.reduce(tensor, reduction="sum").tolist()
        return summed

    def _refuse_not_finite(self, line: Mapping[str, Any]) -> None:
        wrong = [name for name in ("loss", "grad_norm") if not math.isfinite(line[name])]
        if wrong:
            names = [example.sample.id for example in self._steps[line["step"] - 1]]
            raise HarnessError(
                f"Step {line['step']}: {wrong[0]} is {line[wrong[0]]}.",
                known=f"Samples: {', '.join(names)}. {self._run.last_good()}",
                remedy="Lower the learning rate, clip the gradient, or train in bfloat16 or "
                "float32; a changed setting needs --fresh.",
                code=Exit.UNEXPECTED,
            )

    def _memory(self) -> int:
        """The most bytes held so far: on the accelerator, or else by this process."""
        import torch

        if self._device.startswith("cuda"):
            return torch.cuda.max_memory_allocated(torch.device(self._device))
        return timing.peak_process_memory()

    def _order_digest(self) -> str:
        ids = [[example.sample.id for example in step] for step in self._steps]
        return sha256(json.dumps(ids).encode()).hexdigest()

    def _save(self) -> None:
        wait, first = self._accelerator.wait_for_everyone, self._accelerator.is_main_process
        wait()
        self._saved = self._done
        if not (first or self._sharded):
            return
        state = self._optimizer.state_dict()["state"]
        names = list(self._named)
        config = self._run.config
        snapshot = Snapshot(
            step=self._done,
            model=self._named,
            optimizer={names[index]: kept for index, kept in state.items()},
            random=self._random(),
            state={
                "schedule": {
                    "steps": len(self._steps),
                    "lr": learning_rate(self._done, len(self._steps), config),
                },
                "order": {
                    "seed": config.seed,
                    "next_step": self._done + 1,
                    "sha256": self._order_digest(),
                },
            },
        )
        folder, keep = self._run.checkpoints, config.keep_checkpoints
        with self._run.writing():
            if self._sharded:
                checkpointing.save_shards(folder, snapshot, keep=keep, first=first, wait=wait)
            else:
                checkpointing.save(folder, snapshot, keep=keep)

    def _random(self) -> dict[str, torch.Tensor]:
        import torch

        states = {"cpu": torch.get_rng_state()}
        if self._device.startswith("cuda"):
            states["cuda"] = torch.cuda.get_rng_state(self._device)
        return states

    def _restore(self, snapshot: Snapshot, path: Path) -> None:
        import torch

        expected = {"steps": len(self._steps), "sha256": self._order_digest()}
        state = snapshot.state
        found = {"steps": state["schedule"]["steps"], "sha256": state["order"]["sha256"]}
        kept, ours = ({n: t.shape for n, t in s.items()} for s in (snapshot.model, self._named))
        if found != expected or kept != ours:
            raise DataError(
                f"The checkpoint {path} was made with other samples, in another order, or of "
                "another model.",
                remedy="Put them back as they were, or use --fresh.",
            )
        with torch.no_grad():
            for name, tensor in snapshot.model.items():
                self._named[name].copy_(tensor)
        whole = self._optimizer.state_dict()
        places = {name: place for place, name in enumerate(self._named)}
        whole["state"] = {places[name]: dict(kept) for name, kept in snapshot.optimizer.items()}
        self._optimizer.load_state_dict(whole)
        torch.set_rng_state(snapshot.random["cpu"])
        if self._device.startswith("cuda") and "cuda" in snapshot.random:
            torch.cuda.set_rng_state(snapshot.random["cuda"], self._device)
        self._done = self._saved = snapshot.step

    def _rewind(self) -> list[dict[str, Any]]:
        with self._accelerator.main_process_first():
            return self._log.rewind(self._done)


_STOPS = (signal.SIGINT, signal.SIGTERM)


def _optimizer(
    parameters: list[torch.nn.Parameter], config: DistillConfig
) -> torch.optim.Optimizer:
    import torch

    settings: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": (config.beta1, config.beta2),
        "eps": config.epsilon,
    }
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, **settings)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **settings, weight_decay=config.weight_decay)
    from bitsandbytes.optim import Adam8bit  # type: ignore[import-not-found]  # optional

    made: torch.optim.Optimizer = Adam8bit(parameters, **settings)
    return made


def _finish(
    run: _Run,
    student: MoondreamStudent,
    losses: Sequence[float],
    *,
    learned: Mapping[str, torch.Tensor],
) -> None:
    """Everything that a finished run leaves; distill.json last, which says that it is complete."""
    tail = losses[-max(1, len(losses) // 10) :]
    run.record["losses"] = {
        "first": losses[0],
        "last": losses[-1],
        "mean_of_last_tenth": math.fsum(tail) / len(tail),
        "lowest": min(losses),
    }
    curve = loss_svg(losses, title=f"Training loss, {run.config.target} target")
    write_atomically(run.out / CURVE, curve.encode())
    aside = run.out / f".{STUDENT}.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    student.export(aside, learned)
    texts = {
        CONFIG: json.dumps(run.config.to_json(), indent=1) + "\n",
        CARD: card(
            run.config,
            run.sources,
            image_tokens=student.image_tokens,
            record=run.record,
        ),
        CURVE: curve,
        LOG: (run.out / LOG).read_text(encoding="utf-8"),
    }
    for name, text in texts.items():
        (aside / name).write_text(text, encoding="utf-8")
    checkpointing.publish(aside, run.out / STUDENT)
    run.record.update(status="complete", finished=_now())
    run.write_record()


def _read_record(out: Path) -> dict[str, Any] | None:
    path = out / TRAINING
    try:
        record = json.loads(read_regular(path, limit=MAX_RECORD, within=out))
        if record["format"] > FORMAT:
            raise DataError(f"{path} was written by a newer harness.", remedy="Update harness.")
        for name in ("fingerprint", "status", "started"):
            record[name]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not the record of a training run: {type(error).__name__} {error}.",
            remedy="Use --fresh to move the run aside and begin anew.",
        ) from error
    return dict(record)


def _refuse_mismatch(old: Mapping[str, Any], new: Mapping[str, Any], out: Path) -> None:
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if changed:
        said = "; ".join(f"{n}: {old.get(n)} then, {new.get(n)} now" for n in changed)
        raise HarnessError(
            f"The training in {out} was begun with another {', '.join(changed)}.",
            known=said,
            remedy="Use --fresh to move it aside and begin anew, or choose another folder.",
        )


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
