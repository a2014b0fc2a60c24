"""One process's part of a run: answer what is pending, keep each answer at once, score, record."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.core import environment, processes, progress, timing
from harness.core.errors import Exit, HarnessError
from harness.core.interrupts import Interrupted, interrupts
from harness.core.options import RunOptions
from harness.core.types import Decoding, Metric, Prediction, RunMetric, Sample
from harness.metrics.figures import described_by
from harness.run.folder import PredictionsChanged, RunFolder
from harness.run.judgements import judge_metrics
from harness.run.layout import PREDICTIONS
from harness.run.prompting import PromptSettings
from harness.run.records import Counts, MetricInfo, ModelInfo, RunRecord, TaskInfo
from harness.run.runner import Runner, batches
from harness.run.scoring import Run, scored
from harness.run.session import Session
from harness.run.shards import Claims
from harness.run.status import StatusWriter, write_final
from harness.run.task_data import Data
from harness.run.tracked import begin, log_progress
from harness.sources.source import Source
from harness.tracking.trackers import Trackers

log = logging.getLogger(__name__)

WARM_UP = 4
"""Samples that are asked before the clock runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One model on one task: what every step of the run needs to know."""

    source: Source
    """The model."""
    data: Data
    options: RunOptions
    folder: RunFolder
    settings: Mapping[str, Any]
    """Resolved, as run.json has them."""
    metrics: Sequence[Metric | RunMetric]
    selected: Sequence[Sample]
    """What is asked, in the data's order."""
    trackers: Trackers = field(default_factory=Trackers)


def answer(
    job: Job,
    record: RunRecord,
    pending: Iterable[Sequence[Sample]],
    *,
    answered: Sequence[Prediction],
    total: int,
    others: Claims | None = None,
    replaces: bool = False,
) -> Run:
    """Answer what is pending, score all answers of this process, and write the record.

    Args:
        others: what other processes have answered of the `total`.
        replaces: see `Session`.
    """
    runner, energy = _runner(job), timing.Energy(job.source.device)
    session = Session(
        job.folder,
        record,
        answered,
        about=_about(job, shared=others is not None),
        measured=_measured(job.source, runner, energy),
        replaces=replaces,
    )
    try:
        _ask(job, runner, session, pending, energy=energy, total=total, others=others)
        if session.waits:
            raise _unanswered(job, next((p.error for p in session.predictions), None))
        return finish(job, session.record("running"), session.predictions)
    except PredictionsChanged as error:
        raise _rescued(job, session, error, shared=others is not None) from error
    except (Interrupted, KeyboardInterrupt, HarnessError) as error:
        if not session.waits:
            _stop(job, session, shared=others is not None)
        if not isinstance(error, HarnessError):
            log.info("Interrupted; re-run the same command to resume.")
        raise


def _stop(job: Job, session: Session, *, shared: bool) -> None:
    """Leave a run that can be resumed."""
    with interrupts.shielded():
        # What takes long (BERTScore) waits for the run's end.
        brief = replace(job, metrics=job.data.task.metrics)
        try:
            finish(brief, session.record("interrupted"), session.predictions)
        except PredictionsChanged as error:
            raise _rescued(job, session, error, shared=shared) from error


def _rescued(
    job: Job, session: Session, error: PredictionsChanged, *, shared: bool
) -> HarnessError:
    """The error, once the answers are in a file of their own: what is there now is not ours."""
    # A shard goes when the run is gathered.
    folder = RunFolder(job.folder.path.parent.parent) if shared else job.folder
    with interrupts.shielded():
        path = folder.rescue(session.predictions)
    return HarnessError(
        error.what,
        known=f"All {len(session.predictions):,} answers of this run are in {path}.",
        remedy=f"Put that file where {PREDICTIONS} was, next to its run.json, and re-run the same "
        "command to resume.",
        code=error.code,
    )


def _runner(job: Job) -> Runner:
    settings = job.settings
    return Runner(
        job.source.load(),
        job.data.task,
        prompts=prompt_settings(job.data, settings),
        decoding=Decoding(**settings["decoding"]),
        digests=job.data.digests,
    )


def prompt_settings(data: Data, settings: Mapping[str, Any]) -> PromptSettings:
    """How each question is asked, by the settings of a run."""
    return PromptSettings(
        style=settings["style"],
        mode=settings["mode"],
        options=settings["options"],
        shuffle=settings["shuffle"],
        examples=data.examples(settings["shots"]),
        truncate=settings["truncate"],
        conclude=settings["conclude"],
        votes=settings["votes"],
    )


def _about(job: Job, *, shared: bool) -> dict[str, Any]:
    """What is known of a session from the start."""
    source, place = job.source, processes.here()
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "device": source.device,
        "batch_size": job.settings["batch_size"],
        "load_seconds": source.load_seconds,
        "devices": source.devices,
        "answered_from": None,
        **({"process": place.rank, "processes": place.processes} if shared else {}),
    }


def _measured(
    source: Source, runner: Runner, energy: timing.Energy
) -> Callable[[], Mapping[str, Any]]:
    """What is known of a session at each moment."""

    def measured() -> Mapping[str, Any]:
        return {
            "smallest_batch_size": runner.memory_limit,
            "peak_memory_bytes": timing.peak_memory(source.device)
            if source.capabilities.measures_memory
            else None,
            "energy_joules": energy.joules(),
        }

    return measured


def _ask(
    job: Job,
    runner: Runner,
    session: Session,
    pending: Iterable[Sequence[Sample]],
    *,
    energy: timing.Energy,
    total: int,
    others: Claims | None,
) -> None:
    """Warm up, size, and answer batch by batch."""
    session.begin()
    pending = iter(pending)
    begun = next(pending, ())
    label = f"{job.data.task.name} · {job.source.checkpoint.name}"
    log.info("%s: warming up", label)
    first = begun[: WARM_UP if job.source.capabilities.in_process else 1]
    seconds = runner.warm_up(first) if first else None
    rows = job.settings["batch_size"]
    if job.options.batch_size is None and first:
        rows = min(runner.size(first) or rows, total)
    done = {p.sample_id for p in session.predictions}
    workers = _workers(job, total - len(done))
    settings = {"batch_size": rows, "workers": workers}
    known = others.known if others else sum(s.id in done for s in job.selected)
    record = session.record("running")
    record = replace(record, settings={**record.settings, **settings})
    begin(job.trackers, record, step=known, fresh=session.waits)
    energy.start()
    session.begin(
        settings=settings,
        warmup_seconds=seconds,
        batch_size=rows,
        workers=workers,
        answered_from=time.time(),
    )
    make = progress.make if processes.here().first else progress.Silent
    status = StatusWriter(job.folder.path, total=total, done=known)
    with make(label, total=total, done=known, unit="samples") as bar:
        for new in runner.answers(
            itertools.chain([begun] if begun else [], pending),
            slots=rows,
            done=done if others is None else others,
            workers=workers,
            among=job.data.samples.samples if workers else (),
        ):
            with interrupts.shielded():
                session.add(new)
                done.update(p.sample_id for p in new)
            more = others.news() if others else 0
            bar.advance(len(new) + more, tokens=sum(p.tokens or 0 for p in new))
            before, known = known, known + len(new) + more
            if not session.waits:
                log_progress(
                    job.trackers, session.predictions, before=before, done=known, total=total
                )
                if processes.here().first:
                    status.update(session.predictions, done=known)


def _workers(job: Job, number: int) -> int:
    """Processes that prepare ahead: as many as were asked for, else as pay for so many samples."""
    if job.options.workers is not None or not job.source.capabilities.prepares_ahead:
        return job.options.workers or 0
    from harness.engine.prefetch import workers_for

    return workers_for(job.source.device, number)


def _sessions(job: Job, old: RunRecord | None, answered: int) -> Sequence[Mapping[str, Any]]:
    """The earlier processes' entries."""
    until = job.folder.last_written()
    return timing.settled(old.sessions, answered=answered, until=until) if old else []


def finish(job: Job, record: RunRecord, predictions: Sequence[Prediction]) -> Run:
    """Put the predictions into the data's order, score those that were asked for, write the
    record."""
    job.folder.check_predictions()
    order = {sample.id: place for place, sample in enumerate(job.data.samples.samples)}
    wanted = {sample.id for sample in job.selected}
    ordered = sorted(predictions, key=lambda p: order[p.sample_id])
    ours = [p for p in ordered if p.sample_id in wanted]
    beyond = [p for p in ordered if p.sample_id not in wanted]
    judges = judge_metrics(job.folder.path, ours)
    record, ours = scored(record, ours, [*job.metrics, *judges])
    job.folder.check_predictions()  # scoring can take long
    if ours != list(predictions) or job.folder.beyond_path.exists():
        job.folder.rewrite(ours, beyond=beyond)
    if beyond:
        log.info("%d answers beyond --limit are kept in %s", len(beyond), job.folder.beyond_path)
    job.folder.write_record(record)
    write_final(job.folder.path, record, total=len(job.selected))
    return Run(job.folder.path, record)


def new_record(
    job: Job, known: Mapping[str, Any], old: RunRecord | None, *, answered: int
) -> RunRecord:
    """The record as it is before anything is answered by this process."""
    source, data = job.source, job.data
    checkpoint, samples = source.checkpoint, data.samples
    spec = checkpoint.spec if checkpoint.named else None
    description = source.description or (old.settings.get("model") if old else None) or {}
    return RunRecord(
        task=TaskInfo(
            name=data.task.name,
            title=data.task.title,
            split=data.options.split,
            source=samples.source,
            revision=samples.revision,
            licence=samples.licence,
            unit=samples.unit,
            synthetic=data.task.synthetic and data.options.path is None,
            own_title=data.own_title,
        ),
        model=ModelInfo(
            name=checkpoint.name,
            title=checkpoint.title,
            size=checkpoint.size,
            parameters=description.get("parameters"),
            role=spec.role if spec else "baseline",
            repo=checkpoint.repo,
            revision=checkpoint.revision,
            weights=checkpoint.weights,
            licence=checkpoint.licence,
            family=job.source.family.name,
            mini=checkpoint.mini,
        ),
        fingerprint=known,
        counts=Counts(
            total=samples.total, filtered=dict(samples.filtered), available=len(samples.samples)
        ),
        metric_info={each.name: MetricInfo.of(each) for each in described_by(job.metrics)},
        settings={**job.settings, "model": dict(description)},
        environment=environment.describe(source.device),
        command=list(job.options.command),
        configuration=dict(job.options.configuration),
        sessions=_sessions(job, old, answered),
    )


def try_out(job: Job) -> None:
    """Make sure that a question can be answered; raises HarnessError."""
    runner = _runner(job)
    for batch in batches(job.selected, WARM_UP, ()):
        runner.warm_up(batch)
        if runner.works:
            return
    raise _unanswered(job)


def _unanswered(job: Job, why: str | None = None) -> HarnessError:
    return HarnessError(
        f"None of {len(job.selected):,} questions could be answered; {job.folder.path} is as it "
        "was.",
        known=why or "",
        code=Exit.FAILED_SAMPLES,
    )
