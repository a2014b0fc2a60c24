"""A training run: check it against what is there, find the examples that can be learned, learn them
step by step, write the student.

    OUT/distill.json        what was trained on what, and whether it is complete
    OUT/training_log.jsonl  one line for each optimizer step
    OUT/validation_log.jsonl  one line for each evaluation, see distill.training.evaluations
    OUT/loss.svg            both as a chart, Figure 3
    OUT/checkpoints/        what an interrupted run resumes from
    OUT/best/               the weights that were best by validation
    OUT/features/           image features, for as long as the encoder is frozen
    OUT/adapter/            with LoRA, the adapter by itself, in peft's layout
    OUT/student/            the trained model in its published layout, an adapter merged into it

Several processes all see the run's folder; the first one writes it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.config import DistillConfig
from distill.examples import Example
from distill.layout import (
    ADAPTER,
    CARD,
    CHECKPOINTS,
    CONFIG,
    CURVE,
    EVALUATIONS,
    FEATURES,
    LOG,
    STUDENT,
    TRAINING,
)
from distill.objectives import objective_of
from distill.training import checkpointing, parallel
from distill.training.card import Sources, card
from distill.training.curve import loss_svg, strips_of
from distill.training.features import PICTURES_AT_ONCE, UNUSABLE
from distill.training.fingerprint import fingerprint
from distill.training.parallel import Processes
from distill.training.record import (
    TrainingRun,
    count_reasons,
    new_record,
    now,
    read_record,
)
from distill.training.requirements import check_base, check_packages
from distill.training.schedule import order
from harness.checkpoints.folder import weights_fingerprint
from harness.core import environment
from harness.core import processes as launched
from harness.core.devices import keep_float32_exact
from harness.core.errors import Exit, HarnessError, SampleError
from harness.core.files.atomic import publish_folder, write_atomically
from harness.core.mismatch import stop_on_mismatch
from harness.core.progress import Make, Silent
from harness.core.types import Task
from harness.tracking.trackers import Trackers
from tasks import scienceqa

if TYPE_CHECKING:
    import torch

    from distill.rationales.teacher_scores import TeacherScores
    from distill.training.evaluations import Evaluations
    from distill.training.student import Student
    from distill.training.validation import Validation

log = logging.getLogger(__name__)

_NAMED = 20
"""Examples that are left out and named on the terminal."""
_MOST_LOST = 0.5
"""The share of questions whose pictures cannot be used, above which nothing is trained: a folder is
not there, rather than a file."""


@dataclass(frozen=True, slots=True)
class _Lesson:
    """What the student is, and what it learns."""

    examples: Sequence[Example]
    base: Path
    task: Task
    features: Path
    validation: Validation | None
    scores: TeacherScores | None


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
    validation: Validation | None = None,
    fresh: bool = False,
    progress: Make = Silent,
    trackers: Trackers | None = None,
    scores: TeacherScores | None = None,
) -> Path:
    """Train a student on `examples`, or resume an interrupted run; returns the student's folder.

    A run that is complete is left as it is.

    Args:
        base: the checkpoint to train, in its published layout.
        out: the run's folder; see above.
        device: as torch names it; with several processes only its kind, and each has its own.
        task: words the questions.
        sources: what the model card says of the data, the teacher and their licences.
        features: folder of image features, to share it between runs; None: in `out`.
        validation: what the student is evaluated on while it trains, and the best one chosen by;
            None: the student is that of the last step.
        fresh: start over; a run that is there is moved aside before the first step.
        trackers: are closed at the end; None: nothing is tracked.
        scores: the teacher of the student's own answers, for an objective that samples them.

    Raises:
        HarnessError: the run in `out` was made with other settings, which the message lists;
            nothing can be learned; the loss is no longer finite; the disk is full. In the last two
            cases the newest checkpoint is named.
        Interrupted: asked to stop; a checkpoint has been written.
    """
    processes = parallel.start(config, device)
    check_base(base)
    check_packages(config, processes.device)
    _check_sampling(config, processes, scores)
    cache = features or out / FEATURES
    lesson = _Lesson(examples, base, task, cache, validation, scores)
    with checkpointing.locked(out) if processes.first else contextlib.nullcontext():
        known = _fingerprint(lesson, config)
        old = None if fresh else _old_record(out, known)
        if old is not None and old["status"] == "complete" and (out / STUDENT).is_dir():
            return out / STUDENT
        run = TrainingRun(
            out=out,
            config=config,
            sources=sources or Sources(base=base.name),
            record=new_record(known, config, base, old=old),
            progress=progress if processes.first else Silent,
            trackers=trackers or Trackers(),
        )
        with run.trackers, processes.report_loss(run.last_checkpoint):
            return _train(run, lesson, processes, fresh=fresh)


def _check_sampling(
    config: DistillConfig, processes: Processes, scores: TeacherScores | None
) -> None:
    """Refuse what an objective on the student's own answers cannot do; raises HarnessError."""
    if objective_of(config).sampling is None:
        return
    if scores is None:
        raise HarnessError(
            f"The objective {config.objective} needs a teacher in memory.",
            remedy="--teacher with a model or a folder whose vocabulary is the student's",
        )
    if processes.several:
        raise HarnessError(
            f"The objective {config.objective} trains in one process; {processes.count} were "
            "launched.",
            remedy="Start one process.",
        )


def _fingerprint(lesson: _Lesson, config: DistillConfig) -> dict[str, Any]:
    """What must be equal for a run to be resumed."""
    return {
        "data": f"sha256:{fingerprint(lesson.examples, objective_of(config), lesson.task)}",
        "weights": weights_fingerprint(lesson.base),
        **config.outcome(),
        **({"scores": lesson.scores.fingerprint} if lesson.scores else {}),
        **(
            {"validation": lesson.validation.fingerprint(config, lesson.task)}
            if lesson.validation
            else {}
        ),
    }


def _old_record(out: Path, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of the run that is there; refuses one that cannot be resumed."""
    record = read_record(out)
    if record is not None:
        before = record["fingerprint"]
        # A setting that only one side has counts too.
        both = {**dict.fromkeys(before), **known}
        stop_on_mismatch(before, both, what=f"the training in {out}")
    elif checkpointing.latest(out / CHECKPOINTS):
        raise HarnessError(
            f"{out} has checkpoints, but no {TRAINING} that says what they are of.",
            remedy="Use --fresh to move them aside.",
        )
    return record


def _train(run: TrainingRun, lesson: _Lesson, processes: Processes, *, fresh: bool) -> Path:
    """Train what remains of the run, and write the student."""
    import torch

    from distill.training.evaluations import Evaluations
    from distill.training.loop import TrainingLoop
    from distill.training.student import Student

    config, device = run.config, processes.device
    if config.precision == "float32":
        keep_float32_exact()
    on_gpu = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=on_gpu):
        torch.manual_seed(config.seed)
        student = Student(
            lesson.base,
            config,
            lesson.task,
            features=lesson.features,
            device=device,
            processes=processes.count,
        )
        if lesson.scores is not None:
            student.learn_from(lesson.scores)
        usable = _find_usable(run, student, lesson.examples, processes)
        if fresh:
            _move_old_aside(run, processes)
        steps = [[usable.examples[i] for i in step] for step in order(usable.lengths, config)]
        run.record["steps"] = len(steps)
        run.count(lesson.examples, usable.examples, usable.left_out)
        _describe_session(run, student, processes)
        before = student.hash_encoder() if processes.first else None
        evaluations = None
        if lesson.validation is not None:
            evaluations = Evaluations(
                run,
                student,
                lesson.validation,
                task=lesson.task,
                steps=len(steps),
                processes=processes,
            )
        loop = TrainingLoop(run, student, steps, processes, evaluations)
        if processes.first:
            with run.writing():
                checkpointing.clean(run.checkpoints)
                run.write_record()
        losses = loop.run()
    learned: Mapping[str, torch.Tensor] = {}
    if evaluations is None:
        learned = student.learned(wanted=processes.first)
    elif processes.first:
        learned = evaluations.read_best()
        run.record["validation"] = evaluations.describe()
    if processes.first:
        run.record["encoder"] = _prove_frozen(student, before)
        with run.writing():
            _finish(run, student, losses, learned=learned, evaluations=evaluations)
    processes.wait()
    return run.out / STUDENT


@dataclass(frozen=True, slots=True)
class _Usable:
    """The examples that can be learned, and why the others cannot."""

    examples: Sequence[Example]
    lengths: Sequence[int]
    """In tokens, of their sequences."""
    left_out: Mapping[str, str]
    """Sample id -> reason."""


def _find_usable(
    run: TrainingRun,
    student: Student,
    examples: Sequence[Example],
    processes: Processes,
) -> _Usable:
    """Encode the images, and sort out what cannot be learned; raises HarnessError where that is
    everything."""
    with run.writing():
        if processes.several:
            # Each encodes a share of the images, then all read what all have kept.
            _check(student, examples[processes.rank :: processes.count], run)
            processes.wait()
        found = _check(student, examples, run, silent=processes.several)
    if processes.first:
        for name, reason in list(found.left_out.items())[:_NAMED]:
            log.warning("%s is left out: %s", name, reason)
        if (more := len(found.left_out) - _NAMED) > 0:
            log.warning("%d more are left out; %s names them.", more, run.out / TRAINING)
    if not found.examples:
        reasons = count_reasons(found.left_out)
        raise HarnessError(
            "None of the examples can be learned.",
            known="; ".join(f"{n} {why}" for why, n in reasons.items()),
            code=Exit.MISSING,
        )
    lost = [reason for reason in found.left_out.values() if reason.startswith(UNUSABLE)]
    if len(lost) > _MOST_LOST * len(examples):
        raise HarnessError(
            f"{len(lost):,} of {len(examples):,} questions have a picture that cannot be used.",
            known=f"The first: {lost[0]}",
            remedy="Put the pictures back, or name the folder that has them with --data.",
            code=Exit.MISSING,
        )
    return found


def _check(
    student: Student, examples: Sequence[Example], run: TrainingRun, *, silent: bool = False
) -> _Usable:
    lengths: dict[str, int] = {}
    left_out: dict[str, str] = {}
    progress = Silent if silent else run.progress
    with progress("examples", total=len(examples), done=0) as bar:
        for example in examples:
            try:
                lengths[example.sample.id] = student.length(example)
            except SampleError as error:
                left_out[example.sample.id] = str(error)
            bar.advance(1)
    fitting = [example for example in examples if example.sample.id in lengths]
    starts = range(0, len(fitting), PICTURES_AT_ONCE)
    if objective_of(run.config).style == "direct":
        # A control may be trained next to its student, on the same pictures: from the other end it
        # meets what that one has encoded.
        starts = starts[::-1]
    with progress("images", total=len(fitting), done=0) as bar:
        for start in starts:
            batch = fitting[start : start + PICTURES_AT_ONCE]
            left_out |= student.unusable_pictures(batch)
            bar.advance(len(batch))
    usable = [example for example in fitting if example.sample.id not in left_out]
    return _Usable(usable, [lengths[example.sample.id] for example in usable], left_out)


def _move_old_aside(run: TrainingRun, processes: Processes) -> None:
    """Move the run that was there aside, before any process looks for its checkpoints."""
    processes.wait()
    if processes.first:
        run.move_old_aside()
    processes.wait()


def _describe_session(run: TrainingRun, student: Student, processes: Processes) -> None:
    """Record what the session runs on, and from which step."""
    config = run.config
    run.record["image_tokens"] = student.image_tokens
    run.record["versions"] = environment.describe(processes.device)
    run.record["sessions"].append(
        {
            "started": now(),
            "from_step": checkpointing.latest_step(run.checkpoints) + 1,
            "processes": processes.count,
            "parallel": config.parallel if launched.here().launched else None,
            "device": processes.device,
        }
    )
    if config.micro_batch_size < processes.count and processes.first:
        log.warning(
            "%d processes, and %d samples a pass: some have nothing to do.",
            processes.count,
            config.micro_batch_size,
        )


def _prove_frozen(student: Student, before: str | None) -> dict[str, Any]:
    """What the record says of the vision encoder: its hash before and after this session.

    Raises:
        HarnessError: it is frozen, and has changed.
    """
    after, frozen = student.hash_encoder(), student.vision_is_frozen
    if frozen and None not in {after, before} and after != before:
        raise HarnessError(
            "The vision encoder is frozen, and its weights have changed.",
            known=f"Before: {before}. After: {after}.",
            remedy="Report this: it is a fault of the program.",
            code=Exit.UNEXPECTED,
        )
    return {"frozen": frozen, "before": before, "after": after}


def _finish(
    run: TrainingRun,
    student: Student,
    losses: Sequence[float],
    *,
    learned: Mapping[str, torch.Tensor],
    evaluations: Evaluations | None,
) -> None:
    """Write the loss curve, the student's folder and, last, that the run is complete."""
    tail = losses[-max(1, len(losses) // 10) :]
    run.record["losses"] = {
        "first": losses[0],
        "last": losses[-1],
        "mean_of_last_tenth": math.fsum(tail) / len(tail),
        "lowest": min(losses),
    }
    logged = (run.out / LOG).read_text(encoding="utf-8")
    curve = loss_svg(
        losses,
        title=f"Training loss, {run.config.objective} target",
        validation=evaluations.losses if evaluations else (),
        best=run.record["validation"]["best"]["step"] if evaluations else None,
        strips=strips_of([json.loads(line) for line in logged.splitlines()]),
    )
    write_atomically(run.out / CURVE, curve.encode())
    if run.config.lora_rank is not None:
        adapter = _empty(run.out / f".{ADAPTER}.tmp")
        student.export_adapter(adapter, learned)
        publish_folder(adapter, run.out / ADAPTER)
    aside = _empty(run.out / f".{STUDENT}.tmp")
    student.export(aside, learned)
    texts = {
        CONFIG: json.dumps(run.config.to_json(), indent=1) + "\n",
        CARD: card(run.config, run.sources, image_tokens=student.image_tokens, record=run.record),
        CURVE: curve,
        LOG: logged,
    }
    if evaluations is not None:
        texts[EVALUATIONS] = (run.out / EVALUATIONS).read_text(encoding="utf-8")
    for name, text in texts.items():
        (aside / name).write_text(text, encoding="utf-8")
    publish_folder(aside, run.out / STUDENT)
    run.record.update(status="complete", finished=now())
    run.write_record()


def _empty(folder: Path) -> Path:
    """`folder`, without what a killed process left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder
