"""The story of a run: find the weights, load the data, refuse what does not fit, answer what is
missing, score, record."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness.checkpoints import chat_templates
from harness.checkpoints.chat_templates import ChatTemplate
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.folder import weights_fingerprint
from harness.core import environment, processes, progress, structured, timing
from harness.core.errors import DataError, Exit, HarnessError
from harness.core.files.layout import PREDICTIONS
from harness.core.interrupts import Interrupted, interrupts
from harness.core.mismatch import refuse_mismatch
from harness.core.processes import Place
from harness.core.prompts import instruction
from harness.core.types import (
    DataOptions,
    Decoding,
    Metric,
    Mode,
    Model,
    OptionForm,
    Prediction,
    Prompt,
    Rendering,
    Sample,
    SampleSet,
    Style,
    Task,
)
from harness.data.fingerprint import Digests, Looked, blank, extraction, look, wording
from harness.data.fingerprint import fingerprint as data_fingerprint
from harness.data.selection import How, select
from harness.data.shots import Shots
from harness.metrics.overlap import TOKENIZE, Tokenize
from harness.remote.endpoint import ServerOptions, is_remote
from harness.remote.served import Served
from harness.run import shards
from harness.run.folder import InUse, Moved, RunFolder
from harness.run.records import (
    Counts,
    ModelInfo,
    RunRecord,
    TaskInfo,
)
from harness.run.runner import Asking, Runner, batches
from harness.run.scoring import Run, extract_again, metrics_of, scored
from harness.run.session import Session
from harness.run.shards import Claims
from harness.run.shuffling import movable
from harness.weights.resolve import resolve_weights

log = logging.getLogger(__name__)

WARM_UP = 4
"""Samples that are asked before the clock runs."""
WORTH_A_WORKER = 16
"""Samples that make up for starting a process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Which weights, on what, and how they decode. None: the model's own default."""

    model: str
    weights: str | None = None
    revision: str | None = None
    name: str | None = None
    lora: Path | None = None
    size: str = "full"
    """Of random weights."""
    quantize: str | None = None
    engine: str = "harness"
    """harness: the decoding engine; transformers: its own `generate`."""
    runs: Path | None = None
    """Where finished distillations are."""
    device: str = "auto"
    device_map: str | None = None
    """auto: spread over all devices; None: on one."""
    dtype: str = "auto"
    attention: str | None = None
    processor_args: Mapping[str, Any] = field(default_factory=dict)
    chat_template: Path | None = None
    """A Jinja file in place of the checkpoint's own template."""
    style: Style | None = None
    mode: Mode = "generate"
    options: OptionForm = "letter"
    """What the mode loglikelihood scores."""
    max_new_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    server: ServerOptions | None = None
    """Where and how a server is asked, for `openai:NAME`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Which samples, in what batches, into which folder."""

    runs: Path
    limit: int | None = None
    sample: How = "first"
    seed: int = 0
    batch_size: int | None = None
    """None: as many as fit into memory, or for a server as many as it is asked at once."""
    workers: int | None = None
    """Processes that prepare questions ahead; None: by the cores, and none where the model runs on
    them."""
    shots: int = 0
    """Answered questions of the train split that are shown first."""
    shuffle: int | None = None
    """Seed of the options' order; None: as the data has them."""
    truncate: bool = False
    """Shorten the context text of prompts beyond the model's context."""
    conclude: bool = False
    """Choose the conclusion by the likelihood of the options behind the reasoning."""
    fresh: bool = False
    tokenize: Tokenize = TOKENIZE
    """How BLEU splits a text."""
    bertscore: str | None = None
    """Encoder of BERTScore, for tasks with text answers; None: not computed."""
    command: Sequence[str] = ()


class Data:
    """A task with its samples, loaded once and used for every model of a command."""

    def __init__(self, task: Task, options: DataOptions) -> None:
        self.task = task
        self.options = options
        self._examples: dict[int, Shots] = {}

    @cached_property
    def samples(self) -> SampleSet:
        loaded = self.task.load(self.options)
        for note in loaded.notes:
            log.warning("%s", note)
        return loaded

    def examples(self, number: int) -> Shots:
        """For each question, `number` others of the train split, answered; raises HarnessError."""
        if number not in self._examples:
            self._examples[number] = Shots(self.task, self._train() if number else (), number)
        return self._examples[number]

    def _train(self) -> Sequence[Sample]:
        try:
            options = replace(self.options, split="train", text_only=True)
            return self.task.load(options).samples
        except DataError as error:
            raise DataError(
                f"--shots shows questions of the train split. {error.what}",
                known=error.known,
                remedy="Leave --shots out, or add a train split to the data.",
            ) from error

    @cached_property
    def looked(self) -> Looked:
        """What is known of the pictures; told once where transparent parts change them."""
        looked = look(self.samples.samples)
        if looked.blended:
            log.info("%d pictures have transparent parts: blended on white.", looked.blended)
        if looked.dropped:
            log.info(
                "%d pictures have transparent parts: transparency is dropped, as the paper's code "
                "does.",
                looked.dropped,
            )
        if looked.flat:
            log.warning(
                "%d of them become one flat colour by it: %s",
                len(looked.flat),
                ", ".join(looked.flat[:5]) + (" ..." if len(looked.flat) > 5 else ""),
            )
        return looked

    @property
    def digests(self) -> Digests:
        return self.looked.digests

    @cached_property
    def fingerprint(self) -> str:
        return f"sha256:{data_fingerprint(self.samples.samples, self.digests)}"


class Weights:
    """A checkpoint that is hashed in the background, and loaded when a run first needs it."""

    def __init__(self, options: ModelOptions) -> None:
        self.options = options
        self.checkpoint: Checkpoint = resolve_weights(
            options.model,
            weights=options.weights,
            revision=options.revision,
            name=options.name,
            lora=options.lora,
            size=options.size,
            runs=options.runs,
        )
        self.template = _template(options.chat_template, self.checkpoint)
        self._hash: Future[dict[str, str | None]] = Future()
        # A daemon, unlike an executor's threads: an interrupt does not wait for it.
        threading.Thread(target=self._hash_folder, daemon=True).start()
        self._model: Model | None = None
        self.load_seconds: float | None = None

    def _hash_folder(self) -> None:
        try:
            lora = self.checkpoint.lora
            hashes = {
                "weights": weights_fingerprint(self.checkpoint.folder),
                "adapter": weights_fingerprint(lora) if lora else None,
            }
            self._hash.set_result(hashes)
        except BaseException as error:  # noqa: BLE001  # raised again where the result is asked for
            self._hash.set_exception(error)

    @property
    def fingerprint(self) -> Mapping[str, str | None]:
        """What the answers depend on: the hash of the weights, and of an adapter or None."""
        return self._hash.result()

    @property
    def conventions(self) -> Mapping[str, str | None]:
        """What its answers depend on beside its files; None: as in runs without that field."""
        before = self.checkpoint.vision_state == "before"
        return {
            "vision_features": "state before layer" if before else None,
            "chat_template": self.template.fingerprint if self.template else None,
        }

    @property
    def rendering(self) -> Mapping[str, str | None]:
        """What becomes of a prompt: a `harness.core.types.Rendering`; empty until it is loaded."""
        return self._model.rendering if isinstance(self._model, Rendering) else {}

    @cached_property
    def device(self) -> str:
        from harness.models.loading import resolve_device

        return resolve_device(processes.own_device(resolve_device(self.options.device)))

    @property
    def devices(self) -> int:
        """How many devices compute; memory that a part of the model is fetched from is none."""
        spread = (self.description or {}).get("device_map") or {}
        return max(1, sum(name not in {"cpu", "disk"} for name in spread))

    @cached_property
    def dtype(self) -> str:
        from harness.models.loading import resolve_dtype

        return resolve_dtype(self.options.dtype, self.device)

    def load(self) -> Model:
        """The model; loaded on the first call."""
        if self._model is not None:
            return self._model
        from harness.models.loading import LoadOptions, load

        if self.options.device_map and processes.here().processes > 1:
            raise HarnessError(
                "--device-map spreads the model over all devices, and several processes would each "
                "do so.",
                remedy="Start one process, or leave --device-map out.",
            )
        timing.reset_peak_device_memory(self.device)
        started = time.perf_counter()
        self._model = load(
            self.checkpoint,
            LoadOptions(
                device=self.device,
                dtype=self.dtype,
                attention=self.options.attention,
                quantize=self.options.quantize,
                device_map=self.options.device_map,
                processor_args=self.options.processor_args,
                chat_template=self.template,
                engine=self.options.engine,
            ),
        )
        self.load_seconds = time.perf_counter() - started
        return self._model

    @property
    def description(self) -> Mapping[str, Any] | None:
        """What the record says of the loaded model; None before it is loaded."""
        return self._model.description if self._model else None


def _template(path: Path | None, checkpoint: Checkpoint) -> ChatTemplate | None:
    """The user's chat template, for a model that takes one."""
    if path is None:
        return None
    if checkpoint.adapter == "vilt":
        raise HarnessError("--chat-template: ViLT fills masks in a sentence, and takes none.")
    return chat_templates.read(path)


Source = Weights | Served
"""What answers: weights that are loaded here, or a server."""


def find_source(options: ModelOptions) -> Source:
    """What `--model` means; raises HarnessError where that is not here."""
    return Served(options) if is_remote(options.model) else Weights(options)


def resolve_batch_size(wanted: int | None, source: Source) -> int:
    """Samples that are handed over at once.

    To a server as many as it is asked at once, so that none of them waits for another. Where
    answers are sampled they depend on the batch: then its size does not go by what is free.
    """
    if wanted is not None:
        return wanted
    if isinstance(source, Served):
        return source.server.concurrency
    return 4 if source.options.temperature > 0 else 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One model on one task: what every step of the run needs to know."""

    weights: Source
    data: Data
    options: RunOptions
    folder: RunFolder
    settings: Mapping[str, Any]
    metrics: Sequence[Metric]
    selected: Sequence[Sample]
    """What is asked, in the data's order."""


def evaluate(weights: Source, data: Data, options: RunOptions) -> Run:
    """Answer what is not answered yet, score, and leave a run folder behind.

    Raises:
        HarnessError: the run that is there was made with something else, or is being written to;
            or a server is gone, and what it answered is kept.
        Interrupted: asked to stop; the run on disk can be resumed.
    """
    selected = select(
        data.samples.samples, limit=options.limit, how=options.sample, seed=options.seed
    )
    job = Job(
        weights=weights,
        data=data,
        options=options,
        folder=RunFolder.of(
            options.runs,
            task=data.task.name,
            model=weights.checkpoint.name,
            split=data.options.split,
        ),
        settings=_settings(weights, data, options),
        metrics=metrics_of(data.task, tokenize=options.tokenize, bertscore=options.bertscore),
        selected=selected,
    )
    place = processes.here()
    if in_place := job.settings["in_place"]:
        log.info(
            '--shuffle-choices: %d of %d questions have options that refer to others, such as "all '
            'of the above"; they stay where they are.',
            in_place,
            len(data.samples.samples),
        )
    if place.processes > 1:
        return _together(job, place)
    with job.folder.locked():
        if options.fresh and job.folder.holds_anything:
            return _answer_anew(job)
        shards.gather(job.folder)
        return _continue(job)


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
        _try_out(job)
    if aside := shards.begin(folder, launch=launch):
        log.info("The run that was there is now %s", aside)
    try:
        with shards.answering(folder, place) as own:
            _share(job, own)
    except (Interrupted, HarnessError):
        with interrupts.shielded(), contextlib.suppress(InUse), folder.locked():
            if shards.gather(folder) and (record := folder.read_record()):
                brief = replace(job, metrics=job.data.task.metrics)
                _finish(brief, replace(record, status="interrupted"), folder.read_predictions())
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
        job.weights.load()
        known |= _told_when_loaded(job.weights)
        if old is None:
            job.folder.write_record(_record(job, known, None, answered=0))
        else:
            refuse_mismatch(old.fingerprint, known, job.folder.path)
        mine = replace(job, folder=own, metrics=())
        _answer(
            mine,
            _record(mine, known, there, answered=len(answered)),
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
        raise HarnessError(
            f"{job.folder.path} has predictions but no run.json to tell what they are of.",
            remedy="Use --fresh to move them aside.",
        )
    known = _fingerprint(job)
    if old is not None:
        refuse_mismatch(old.fingerprint, known, job.folder.path)
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
        job.weights.load()  # while it is hashed
    known |= _told_when_loaded(job.weights)
    if old is not None:
        refuse_mismatch(old.fingerprint, known, job.folder.path)
        known = {**old.fingerprint, **known}  # a server that was not asked now told it then
    record = _record(job, known, old, answered=len(answered))
    if not pending and old is not None:
        # Nothing is answered by this process: what is recorded of it would not be true.
        if predictions != stored:
            job.folder.rewrite(predictions)
        settings = {**old.settings, "limit": record.settings["limit"]}
        unchanged = replace(
            record, environment=old.environment, settings=settings, command=old.command
        )
        return _finish(job, unchanged, predictions)
    fewer = len(answered) < len(predictions)  # what failed is tried again
    if fewer or predictions != stored or job.folder.beyond_path.exists():
        job.folder.rewrite(answered)
    return _answer(job, record, pending, answered=answered, total=len(job.selected))


def _extracted(
    stored: list[Prediction], old: RunRecord | None, known: Mapping[str, Any], task: Task
) -> list[Prediction]:
    """The stored answers; extracted again where the code that does it has changed, so that a run
    never has answers of two extractors."""
    if old is None or old.fingerprint.get("extraction") == known["extraction"]:
        return stored
    again = [extract_again(prediction, task.read) for prediction in stored]
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
                remedy="Use --fresh to move that run aside and begin anew.",
            )


def _answer_anew(job: Job) -> Run:
    """Answer everything; the run that is there is moved aside when there is a first answer."""
    known = _fingerprint(job)
    job.weights.load()  # while it is hashed
    known |= _told_when_loaded(job.weights)
    pending = batches(job.selected, job.settings["batch_size"], ())
    return _answer(
        job,
        _record(job, known, None, answered=0),
        pending,
        answered=(),
        total=len(job.selected),
        replaces=True,
    )


def _try_out(job: Job) -> None:
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


def _answer(
    job: Job,
    record: RunRecord,
    pending: Iterable[Sequence[Sample]],
    *,
    answered: Sequence[Prediction],
    total: int,
    others: Claims | None = None,
    replaces: bool = False,
) -> Run:
    """The part that takes the night.

    Args:
        others: tells what other processes have answered of the `total`.
        replaces: see `Session`.
    """
    runner = _runner(job)
    session = Session(
        job.folder,
        record,
        answered,
        about=_about(job, shared=others is not None),
        measured=_measured(job.weights, runner),
        replaces=replaces,
    )
    try:
        _ask(job, runner, session, pending, total=total, others=others)
        if session.waits:
            raise _unanswered(job, next((p.error for p in session.predictions), None))
        return _finish(job, session.record("running"), session.predictions)
    except Moved as error:
        raise _rescued(job, session, error, shared=others is not None) from error
    except (Interrupted, HarnessError) as error:
        if not session.waits:
            _stop(job, session, shared=others is not None)
        if isinstance(error, Interrupted):
            log.info("Interrupted; the same command goes on where this one stopped.")
        raise


def _stop(job: Job, session: Session, *, shared: bool) -> None:
    """Leave a run that can be resumed."""
    with interrupts.shielded():
        # What takes long (BERTScore) waits for the run's end.
        brief = replace(job, metrics=job.data.task.metrics)
        try:
            _finish(brief, session.record("interrupted"), session.predictions)
        except Moved as error:
            raise _rescued(job, session, error, shared=shared) from error


def _rescued(job: Job, session: Session, error: Moved, *, shared: bool) -> HarnessError:
    """The error, once the answers are in a file of their own: what is there now is not ours."""
    # A shard goes when the run is gathered.
    folder = RunFolder(job.folder.path.parent.parent) if shared else job.folder
    with interrupts.shielded():
        path = folder.rescue(session.predictions)
    return HarnessError(
        error.what,
        known=f"All {len(session.predictions):,} answers of this run are in {path}.",
        remedy=f"Put that file where {PREDICTIONS} was, beside its run.json, and the same command "
        "goes on.",
        code=error.code,
    )


def _runner(job: Job) -> Runner:
    settings = job.settings
    return Runner(
        job.weights.load(),
        job.data.task,
        asking=Asking(
            style=settings["style"],
            mode=settings["mode"],
            options=settings["options"],
            shuffle=settings["shuffle"],
            examples=job.data.examples(settings["shots"]),
            truncate=settings["truncate"],
            conclude=settings["conclude"],
        ),
        decoding=Decoding(**settings["decoding"]),
        digests=job.data.digests,
    )


def _about(job: Job, *, shared: bool) -> dict[str, Any]:
    """What is known of a session from the start."""
    weights, place = job.weights, processes.here()
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "device": weights.device,
        "batch_size": job.settings["batch_size"],
        "load_seconds": weights.load_seconds,
        "devices": None if isinstance(weights, Served) else weights.devices,
        "answered_from": None,
        **({"process": place.rank, "processes": place.processes} if shared else {}),
    }


def _measured(weights: Source, runner: Runner) -> Callable[[], Mapping[str, Any]]:
    """What is known of a session at each moment."""
    energy = timing.Energy(weights.device)

    def measured() -> Mapping[str, Any]:
        return {
            "smallest_batch_size": runner.rows,
            "peak_memory_bytes": None  # that of a client says nothing of the model
            if isinstance(weights, Served)
            else {
                "process": timing.peak_process_memory(),
                "device": timing.peak_device_memory(weights.device),
            },
            "energy_joules": energy.joules(),
        }

    return measured


def _ask(
    job: Job,
    runner: Runner,
    session: Session,
    pending: Iterable[Sequence[Sample]],
    *,
    total: int,
    others: Claims | None,
) -> None:
    """Warm up, size, and answer batch by batch."""
    session.begin()
    pending = iter(pending)
    begun = next(pending, ())
    label = f"{job.data.task.name} · {job.weights.checkpoint.name}"
    log.info("%s: warming up", label)
    # One question finds out whether a server has the model; more would be paid for.
    first = begun[: 1 if isinstance(job.weights, Served) else WARM_UP]
    seconds = runner.warm_up(first) if first else None
    rows = job.settings["batch_size"]
    if job.options.batch_size is None and first:
        rows = min(runner.size(first) or rows, total)
    done = {p.sample_id for p in session.predictions}
    workers = _workers(job, total - len(done))
    session.begin(
        settings={"batch_size": rows, "workers": workers},
        warmup_seconds=seconds,
        batch_size=rows,
        workers=workers,
        answered_from=time.time(),
    )
    make = progress.make if processes.here().first else progress.Silent
    known = others.known if others else sum(s.id in done for s in job.selected)
    with make(label, total=total, done=known, unit="samples") as bar:
        for new in runner.answers(
            itertools.chain([begun] if begun else [], pending),
            rows=rows,
            done=done if others is None else others,
            workers=workers,
            among=job.data.samples.samples if workers else (),
        ):
            with interrupts.shielded():
                session.add(new)
                done.update(p.sample_id for p in new)
            more = others.news() if others else 0
            bar.advance(len(new) + more, tokens=sum(p.tokens or 0 for p in new))


def _workers(job: Job, number: int) -> int:
    """Processes that prepare ahead: as many as were asked for, else as pay for so many samples."""
    if job.options.workers is not None or isinstance(job.weights, Served):
        return job.options.workers or 0
    from harness.engine.prefetch import default_workers

    return min(default_workers(job.weights.device), number // WORTH_A_WORKER)


def _sessions(job: Job, old: RunRecord | None, answered: int) -> Sequence[Mapping[str, Any]]:
    """The earlier processes' entries."""
    until = job.folder.last_written()
    return timing.settled(old.sessions, answered=answered, until=until) if old else []


def _finish(job: Job, record: RunRecord, predictions: Sequence[Prediction]) -> Run:
    """Put the predictions into the data's order, score those that were asked for, write the
    record."""
    job.folder.check_predictions()
    order = {sample.id: place for place, sample in enumerate(job.data.samples.samples)}
    wanted = {sample.id for sample in job.selected}
    ordered = sorted(predictions, key=lambda p: order[p.sample_id])
    ours = [p for p in ordered if p.sample_id in wanted]
    beyond = [p for p in ordered if p.sample_id not in wanted]
    if ours != list(predictions) or job.folder.beyond_path.exists():
        job.folder.rewrite(ours, beyond=beyond)
    if beyond:
        log.info("%d answers beyond --limit are kept in %s", len(beyond), job.folder.beyond_path)
    record = scored(record, ours, job.metrics)
    job.folder.check_predictions()  # scoring can take long
    job.folder.write_record(record)
    return Run(job.folder.path, record)


def _settings(weights: Source, data: Data, options: RunOptions) -> dict[str, Any]:
    """Everything chosen for this run, defaults resolved."""
    wanted, spec = weights.options, weights.checkpoint.spec
    scoring = wanted.mode == "loglikelihood"
    if isinstance(weights, Served) and (scoring or options.conclude):
        from harness.remote.model import no_likelihood

        option = "--mode loglikelihood" if scoring else "--conclude"
        raise no_likelihood(option, weights.checkpoint)
    if scoring and data.task.answers == "text":
        raise HarnessError(
            f"--mode loglikelihood chooses among options; {data.task.title} has written answers.",
            remedy="--mode generate",
        )
    if options.shuffle is not None and data.task.answers == "text":
        raise HarnessError(f"--shuffle-choices: {data.task.title} has no options.")
    if options.conclude and (scoring or data.task.answers == "text"):
        raise HarnessError(
            "--conclude chooses among options behind a reasoning that the model writes: it needs "
            "a multiple-choice task and --mode generate."
        )
    if scoring and wanted.style not in {None, "plain", "direct"}:
        raise HarnessError(
            "--mode loglikelihood scores the options right behind the question: there is no room "
            f"for the style {wanted.style}.",
            remedy="--style direct, or --style plain",
        )
    own: Style = spec.style if spec and weights.checkpoint.named else "direct"
    if scoring:
        own = "direct" if wanted.options == "letter" else "plain"
    style = wanted.style or own
    limit = spec.max_new_tokens if spec else data.task.max_new_tokens
    plain = spec.plain_styles if spec else ()
    added = instruction(style, choices=data.task.answers == "choice", plain_styles=plain)
    published = weights.checkpoint.adapter == "moondream" and not (added or wanted.chat_template)
    return {
        "style": style,
        "instruction": added,
        "wording": "the paper's code"
        if published
        else "ours: the paper published Moondream's only",
        "mode": wanted.mode,
        "options": wanted.options,
        "shots": options.shots,
        "shuffle": options.shuffle,
        "in_place": 0 if options.shuffle is None else _in_place(data.samples.samples),
        "truncate": options.truncate,
        "conclude": options.conclude,
        "decoding": asdict(
            Decoding(
                max_new_tokens=wanted.max_new_tokens or limit,
                temperature=wanted.temperature,
                top_p=wanted.top_p,
                seed=options.seed,
                stop=structured.END if style == "structured" else "",
            )
        ),
        "dtype": wanted.quantize or weights.dtype,
        "attention": "as served" if isinstance(weights, Served) else wanted.attention or "default",
        "processor_args": dict(wanted.processor_args),
        "chat_template": str(wanted.chat_template) if wanted.chat_template else None,
        "engine": "as served" if isinstance(weights, Served) else _engine(wanted),
        "batch_size": resolve_batch_size(options.batch_size, weights),
        "sample": options.sample,
        "limit": options.limit,
        "seed": options.seed,
        "text_only": data.options.text_only,
        "transparency": _transparency(data.looked),
    }


def _transparency(looked: Looked) -> dict[str, int]:
    """How many pictures it changes, and how."""
    counts = {"blended": looked.blended, "dropped": looked.dropped, "flat": len(looked.flat)}
    return {name: count for name, count in counts.items() if count}


def _engine(wanted: ModelOptions) -> str:
    """What runs the model, where the engine knows its architecture; sampling is transformers'."""
    return "transformers" if wanted.temperature > 0 or wanted.device_map else wanted.engine


def _fingerprint(job: Job) -> dict[str, Any]:
    """What must be equal for answers to belong to one run; the weights' hash is added when known.

    Batch size, engine, device, attention kernel and limit are not in it: they change no greedy
    answer in float32, and where answers are sampled the engine is always `generate`.
    """
    data, options, settings = job.data, job.options, job.settings
    decoding = dict(settings["decoding"])
    if not decoding["temperature"]:
        del decoding["seed"], decoding["top_p"]
    else:
        decoding["batch_size"] = settings["batch_size"]  # what is sampled depends on the batch
    return {
        "task": data.task.name,
        "split": data.options.split,
        "style": settings["style"],
        "prompt": _prompt_hash(job),
        "wording": f"sha256:{wording(data.samples.samples, partial(_worded, job))}",
        "task_file": data.task.file.asking if data.task.file else None,
        "extraction": f"sha256:{extraction(data.task)}",
        "mode": _mode(settings),
        "shuffle": _shuffle(settings),
        "decoding": decoding if settings["mode"] == "generate" else None,
        "dtype": settings["dtype"],
        "processor_args": settings["processor_args"],
        "data": data.fingerprint,
        "text_only": settings["text_only"],
        "truncate": settings["truncate"] or None,  # runs without that field shortened nothing
        "transparency": data.looked.transparency,
        **_told_at_once(job.weights),
        "sample": "first"
        if options.sample == "first"
        else f"{options.sample}, seed {options.seed}",
    }


def _told_at_once(source: Source) -> Mapping[str, Any]:
    """What is known of the model before it is loaded."""
    return source.fingerprint if isinstance(source, Served) else source.conventions


def _told_when_loaded(source: Source) -> Mapping[str, Any]:
    """What is known of the model once it is loaded, or a server was asked."""
    if isinstance(source, Served):
        return source.fingerprint
    return {**source.fingerprint, **source.rendering}


def _in_place(samples: Sequence[Sample]) -> int:
    """Questions of which options stay where they are: those that refer to others."""
    return sum(movable(sample.choices) < len(sample.choices) for sample in samples)


def _shuffle(settings: Mapping[str, Any]) -> object:
    """The seed; where options stay where they are that once were moved, that too."""
    stay = f"{settings['shuffle']}; options that refer to others stay where they are"
    return stay if settings["in_place"] else settings["shuffle"]


def _mode(settings: Mapping[str, Any]) -> str:
    """How an answer comes about, in words."""
    if settings["mode"] == "loglikelihood":
        return f"loglikelihood of each {settings['options']}"
    return "generate, conclude by loglikelihood" if settings["conclude"] else "generate"


def _prompt_hash(job: Job) -> str:
    """A hash of the wording of one sample, which runs of every version have."""
    digest = sha256()
    for sample in sorted(job.data.samples.samples, key=lambda s: s.id)[:1]:  # whatever their order
        prompt, added = _prompt(job, blank(sample))
        digest.update(f"{prompt.text}\0{prompt.question}\0{added}".encode())
    examples = job.data.examples(job.settings["shots"])
    for example in examples.usual:
        digest.update(example.encode())
    if any(examples(sample) != examples.usual for sample in job.data.samples.samples):
        digest.update(b"no question is shown with its own answer")  # earlier versions did that
    return f"sha256:{digest.hexdigest()}"


def _worded(job: Job, sample: Sample) -> str:
    """All that a question is asked by: the task's words, and what is added."""
    prompt, added = _prompt(job, blank(sample))
    examples = job.data.examples(job.settings["shots"])(sample)
    return repr((prompt.text, prompt.question, prompt.choices, len(prompt.images), added, examples))


def _prompt(job: Job, sample: Sample) -> tuple[Prompt, str]:
    """The task's prompt, and the instruction of the style."""
    spec, style = job.weights.checkpoint.spec, job.settings["style"]
    prompt = job.data.task.prompt(sample, style)
    plain = spec.plain_styles if spec else ()
    return prompt, instruction(style, choices=bool(prompt.choices), plain_styles=plain)


def _record(
    job: Job, known: Mapping[str, Any], old: RunRecord | None, *, answered: int
) -> RunRecord:
    """The record as it is before anything is answered by this process."""
    weights, data = job.weights, job.data
    checkpoint, samples = weights.checkpoint, data.samples
    spec = checkpoint.spec if checkpoint.named else None
    description = weights.description or (old.settings.get("model") if old else None) or {}
    return RunRecord(
        task=TaskInfo(
            name=data.task.name,
            title=data.task.title,
            split=data.options.split,
            source=samples.source,
            revision=samples.revision,
            licence=samples.licence,
            unit=samples.unit,
            synthetic=data.task.synthetic,
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
            adapter=checkpoint.adapter,
            mini=checkpoint.mini,
        ),
        fingerprint=known,
        counts=Counts(
            total=samples.total, filtered=dict(samples.filtered), available=len(samples.samples)
        ),
        settings={**job.settings, "model": dict(description)},
        environment=environment.describe(weights.device),
        command=list(job.options.command),
        sessions=_sessions(job, old, answered),
    )
