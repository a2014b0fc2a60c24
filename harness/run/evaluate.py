"""The story of a run: choose the questions, continue what is on disk or start over, and put
together what several processes answered."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.core import processes, progress
from harness.core.errors import DataError, HarnessError, SampleError
from harness.core.files.locks import InUse
from harness.core.interrupts import Interrupted, interrupts
from harness.core.options import RunOptions
from harness.core.processes import Place
from harness.core.types import Prediction, Sample, Task
from harness.data.fingerprint import extraction
from harness.data.selection import select
from harness.run import shards
from harness.run.answering import Job, answer, finish, new_record, try_out
from harness.run.folder import RunFolder, without_record
from harness.run.judging import check_judge, judged
from harness.run.records import RunRecord
from harness.run.runner import batches
from harness.run.scoring import Run, extract_again, metrics_of
from harness.run.settings import early_fingerprint, resolve
from harness.run.task_data import Data
from harness.run.tracked import AXIS, log_results
from harness.sources.source import Source
from harness.tracking.tracker import TrackedRun
from harness.tracking.trackers import Trackers

log = logging.getLogger(__name__)


def evaluate(source: Source, data: Data, options: RunOptions) -> Run:
    """Answer what is not answered yet, score, and write the run folder.

    Raises:
        HarnessError: the run that is there was made with something else, or is being written to;
            or a server is gone, and what it answered is kept.
        Interrupted: asked to stop; the run on disk can be resumed.
    """
    selected = select(
        data.samples.samples, limit=options.limit, how=options.sample, seed=options.seed
    )
    check_judge(options.judging, data.task)
    task, model, split = data.task.name, source.checkpoint.name, data.options.split
    job = Job(
        source=source,
        data=data,
        options=options,
        folder=RunFolder.of(options.runs, task=task, model=model, split=split),
        settings=resolve(source, data, options),
        metrics=metrics_of(data.task, tokenize=options.tokenize, bertscore=options.bertscore),
        selected=selected,
    )
    tracked = TrackedRun(
        options=options.tracking,
        task=task,
        name=f"{model}-{split}",
        axis=AXIS,
        home=job.folder.path,
        runs=options.runs,
    )
    with Trackers(tracked) as trackers:
        run = _run(replace(job, trackers=trackers))
        run = judged(run, data.task, options.judging, progress=progress.make)
        log_results(trackers, run, data.samples.samples)
    return run


def _run(job: Job) -> Run:
    """Answer what is not answered yet; see `evaluate`."""
    place = processes.here()
    _check_pictures(job)
    if in_place := job.settings["in_place"]:
        log.info(
            '--shuffle-choices: %d of %d questions have options that refer to others, such as "all '
            'of the above"; they stay where they are.',
            in_place,
            len(job.data.samples.samples),
        )
    if place.processes > 1:
        return _together(job, place)
    with job.folder.locked():
        if job.options.fresh and job.folder.holds_anything:
            return _start_over(job)
        shards.gather(job.folder)
        return _continue(job)


def _check_pictures(job: Job) -> None:
    """Say how many questions have more pictures than the model takes: they will be error rows.

    Raises:
        HarnessError: all of them have.
    """
    most = job.source.max_images
    beyond = [s for s in job.selected if most is not None and len(s.images) > most]
    if most is None or not beyond or _pictures_shown(job, beyond[0]) <= most:
        return
    takes = "one picture" if most == 1 else f"at most {most} pictures"
    said = f"{job.source.checkpoint.title} takes {takes} a question"
    if len(beyond) == len(job.selected):
        raise HarnessError(
            f"{said}, and each question of {job.data.task.title} has more.",
            remedy="Choose a model that takes several, such as phi-3.5.",
        )
    log.warning(
        "%s: %d of %d questions have more, and will be error rows.",
        said,
        len(beyond),
        len(job.selected),
    )


def _pictures_shown(job: Job, sample: Sample) -> int:
    """How many of a question's pictures its task shows the model: a user's own may show fewer."""
    try:
        return len(job.data.task.prompt(sample, job.settings["style"]).images)
    except SampleError:
        return len(sample.images)


def _together(job: Job, place: Place) -> Run:
    """Answer what no other process has answered or is at work on. Who is the last to leave puts all
    answers together, and answers what one that was killed has left; the first process waits to be
    the last.

    Returns:
        The run: as it will stay if this process was the last one, else as it is so far.
    """
    folder = job.folder
    launch = shards.launch() if job.options.fresh else None
    if launch is not None and folder.holds_anything:
        try_out(job)
    if aside := shards.begin(folder, launch=launch):
        log.info("The run that was there is now %s", aside)
    try:
        with shards.answering(folder, place) as own:
            _share(job, own)
    except (Interrupted, KeyboardInterrupt, HarnessError):
        with interrupts.shielded(), contextlib.suppress(InUse), folder.locked():
            if shards.gather(folder) and (record := folder.read_record()):
                brief = replace(job, metrics=job.data.task.metrics)
                finish(brief, replace(record, status="interrupted"), folder.read_predictions())
        raise
    try:
        with shards.waiting(folder) if place.first else folder.locked():
            record = None if shards.gather(folder) else folder.read_record()
            if record is not None and _is_over(record, job.data.task):
                return Run(folder.path, record)  # another one was the last
            return _continue(job, again=False)
    except InUse:
        return Run(folder.path, folder.existing_record())


def _is_over(record: RunRecord, task: Task) -> bool:
    extracted = record.fingerprint.get("extraction") == f"sha256:{extraction(task)}"
    return extracted and record.status in {"complete", "partial"}


def _share(job: Job, own: RunFolder) -> None:
    """Answer this process's part of the run into its own shard."""
    old, predictions, known = _known(job)
    there, answered = own.read_record(), own.read_predictions()
    done = [p.sample_id for p in predictions if p.error is None]
    done += [p.sample_id for p in answered]
    claims = shards.Claims(job.folder, job.data.samples.samples, done=done, own=own)
    with contextlib.closing(claims):
        pending = claims.take(batches(job.selected, job.settings["batch_size"], done))
        first = next(pending, None)
        if first is None:
            return
        job.source.load()
        known |= job.source.full_fingerprint
        if old is None:
            job.folder.write_record(new_record(job, known, None, answered=0))
        else:
            job.folder.stop_on_mismatch(old, known, command=job.options.command)
        mine = replace(job, folder=own, metrics=())
        answer(
            mine,
            new_record(mine, known, there, answered=len(answered)),
            itertools.chain([first], pending),
            answered=answered,
            total=len(job.selected),
            others=claims,
        )


def _known(job: Job) -> tuple[RunRecord | None, list[Prediction], dict[str, Any]]:
    """What is on disk, and what it must have been made with to be continued, the weights apart;
    raises HarnessError where it was made with something else."""
    old, predictions = job.folder.read_record(), job.folder.read_all()
    if old is None and predictions:
        raise without_record(job.folder.path)
    known = early_fingerprint(job.source, job.data, job.settings)
    if old is not None:
        job.folder.stop_on_mismatch(old, known, command=job.options.command)
    _refuse_unknown(predictions, job)
    return old, predictions, known


def _continue(job: Job, *, again: bool = True) -> Run:
    """Go on with what is on disk, if it is of the same run.

    Args:
        again: try once more what has failed.
    """
    old, stored, known = _known(job)
    predictions = _extracted(stored, old, known, job.data.task)
    if not again and {s.id for s in job.selected} <= {p.sample_id for p in predictions}:
        answered = predictions
    else:
        answered = [p for p in predictions if p.error is None]
    done = [p.sample_id for p in answered]
    pending = list(batches(job.selected, job.settings["batch_size"], done))
    if pending:
        job.source.load()  # while it is hashed
    known |= job.source.full_fingerprint
    if old is not None:
        job.folder.stop_on_mismatch(old, known, command=job.options.command)
        known = {**old.fingerprint, **known}  # what a server said when it was asked
    record = new_record(job, known, old, answered=len(answered))
    if not pending and old is not None:
        # Nothing is answered by this process: what is recorded of it would not be true.
        if predictions != stored or job.folder.has_former_lines:
            job.folder.rewrite(predictions)
        settings = {**old.settings, "limit": record.settings["limit"]}
        unchanged = replace(
            record,
            environment=old.environment,
            settings=settings,
            command=old.command,
            configuration=old.configuration,
        )
        return finish(job, unchanged, predictions)
    fewer = len(answered) < len(predictions)  # what failed is tried again
    is_other = predictions != stored or job.folder.has_former_lines
    if fewer or is_other or job.folder.beyond_path.exists():
        job.folder.rewrite(answered)
    return answer(job, record, pending, answered=answered, total=len(job.selected))


def _extracted(
    stored: list[Prediction], old: RunRecord | None, known: Mapping[str, Any], task: Task
) -> list[Prediction]:
    """The stored answers; extracted again where the code that does it has changed, so that a run
    never has answers of two extractors."""
    if old is None or old.fingerprint.get("extraction") == known["extraction"]:
        return stored
    again = [extract_again(prediction, task.extract) for prediction in stored]
    changed = sum(new != before for new, before in zip(again, stored, strict=True))
    if changed:
        log.info(
            "The extraction has changed: of %d stored answers, extracted again, %d have changed.",
            len(stored),
            changed,
        )
    return again


def _refuse_unknown(predictions: Sequence[Prediction], job: Job) -> None:
    known = {sample.id for sample in job.data.samples.samples}
    for prediction in predictions:
        if prediction.sample_id not in known:
            raise DataError(
                f"{job.folder.predictions_path}: the data have no sample {prediction.sample_id!r}.",
                remedy="Use --fresh to move that run aside and start over.",
            )


def _start_over(job: Job) -> Run:
    """Answer everything; the run that is there is moved aside when there is a first answer."""
    known = early_fingerprint(job.source, job.data, job.settings)
    job.source.load()  # while it is hashed
    known |= job.source.full_fingerprint
    pending = batches(job.selected, job.settings["batch_size"], ())
    return answer(
        job,
        new_record(job, known, None, answered=0),
        pending,
        answered=(),
        total=len(job.selected),
        replaces=True,
    )
