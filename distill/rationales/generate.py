"""The first stage (section 3.1): a teacher writes a rationale for each training question.

Load the data, refuse what does not fit what is there, ask for what is missing batch by batch, keep
and reject, record. `importing` does the same with texts that were written elsewhere.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

from distill.rationales.attempts import (
    RationaleOptions,
    Round,
    Work,
    check,
    data_fingerprint,
    rounds,
)
from distill.rationales.store import Attempt
from distill.rationales.teacher import PROMPT_VERSION, teacher_task, wording
from harness.core import progress, structured
from harness.core.errors import HarnessError
from harness.core.interrupts import Interrupted, interrupts
from harness.core.prompts import instruction
from harness.core.types import REFUSAL, Decoding, Model, Prediction
from harness.data.fingerprint import blank
from harness.remote.served import Served
from harness.run.folder import RunFolder
from harness.run.prompting import PromptSettings
from harness.run.runner import Runner
from harness.run.sources import Source
from harness.run.task_data import Data

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """Who writes the rationales. What takes long is a function, called when it is needed."""

    name: str
    about: Mapping[str, Any]
    """Title, repository, revision, licence: what a model card says of it."""
    max_new_tokens: int
    instruction: str
    """What its prompt adds below the question, "" for a teacher that needs none."""
    settings: Mapping[str, Any]
    """What else decides what it writes: dtype, arguments of its processor, or where it is."""
    load: Callable[[], Model]
    fingerprint: Callable[[], str]
    """Of its weights; empty where a server does not tell, or was not asked yet."""
    rendering: Callable[[], Mapping[str, str | None]] = dict
    """What becomes of its prompts: a `harness.core.types.Rendering`; empty until it is loaded."""


def teacher_of(source: Source, *, max_new_tokens: int | None = None) -> Teacher:
    """A row of the catalogue, a folder, or a server's model, as a teacher."""
    checkpoint = source.checkpoint
    spec = checkpoint.spec
    plain = spec.plain_styles if spec else ()
    return Teacher(
        name=checkpoint.name,
        about={
            "name": checkpoint.name,
            "title": checkpoint.title,
            "repo": checkpoint.repo,
            "revision": checkpoint.revision,
            "weights": checkpoint.weights,
            "licence": checkpoint.licence,
        },
        max_new_tokens=max_new_tokens or (spec.max_new_tokens if spec else 512),
        instruction=instruction("structured", choices=True, plain_styles=plain),
        settings={
            "dtype": source.dtype,
            "processor_args": dict(source.settings["processor_args"]),
            **(_where(source) if isinstance(source, Served) else source.conventions),
        },
        load=source.load,
        fingerprint=lambda: _told(source),
        rendering=lambda: {} if isinstance(source, Served) else source.rendering,
    )


def _where(served: Served) -> dict[str, str]:
    return {"endpoint": served.checkpoint.url, "served_model": served.checkpoint.served}


def _told(source: Source) -> str:
    """What is known of a teacher's weights: their hash, or what a server's list says of them."""
    known = source.fingerprint
    if isinstance(source, Served):
        return json.dumps(known["weights"], sort_keys=True) if "weights" in known else ""
    return " + ".join(filter(None, known.values()))


def generate(teacher: Teacher, data: Data, options: RationaleOptions) -> dict[str, Any]:
    """Ask for what is missing and write the files of `store`; returns the record.

    Raises:
        HarnessError: what is there was made with something else, or is being written to; or a
            server is gone, and what it wrote is kept.
        Interrupted: asked to stop; the same call goes on.
    """
    check(data, options)
    work = Work(data, options, rounds=rounds(options))
    with RunFolder(options.folder).locked():
        work.open()
        known = _fingerprint(teacher, data, options)
        work.compare(known)
        if not work.is_over:
            teacher.load()  # while it is hashed
        if told := teacher.fingerprint():
            known["weights"] = told
        known |= teacher.rendering()
        work.compare(known)
        work.begin(known, about=teacher.about)
        if not work.is_over:
            _ask(teacher, work)
        work.refuse_nothing()
        return work.finish()


def _ask(teacher: Teacher, work: Work) -> None:
    """The part that takes the night."""
    model = teacher.load()
    device = model.description.get("device")
    try:
        for each in work.rounds:
            _ask_round(model, teacher, work, each)
    except (Interrupted, HarnessError):
        with interrupts.shielded():
            work.worked(device)
            work.finish("interrupted")
        log.info("What was written is in %s; the same command goes on.", work.store.folder)
        raise
    work.worked(device)


def _ask_round(model: Model, teacher: Teacher, work: Work, each: Round) -> None:
    """What is still missing in a round; its texts are on disk before the next begins, as what they
    are decides who is asked again."""
    asked = {sample.id: sample for sample in work.asked_in(each)}
    done = sum(work.has(sample, each) for sample in asked.values())
    if done == len(asked):
        return
    label = f"{work.data.task.name} · rationales by {teacher.name}"
    if len(work.rounds) > 1:
        label += ", with a hint" if each.hinted else f", attempt {each.number}"
    rows = work.options.batch_size
    runner = _runner(model, teacher, work, each)
    with progress.make(label, total=len(asked), done=done, unit="samples") as bar:
        batches = work.batches(each, whole=not runner.streams)
        for predictions in _at_least(rows, runner.answers(batches, slots=rows)):
            with interrupts.shielded():
                waited = work.waits
                new = _take(teacher, work, each, predictions)
                answered = [asked[prediction.sample_id] for prediction in new]
                over = [s for s in answered if s.id in work.failed or work.is_decided(s)]
                if not waited:
                    kept, rejected = work.views(over)
                    work.store.append_views(kept, rejected)
                elif not work.waits:
                    work.write_views()
            bar.advance(len(new), tokens=sum(prediction.tokens or 0 for prediction in new))


def _take(
    teacher: Teacher, work: Work, each: Round, predictions: Sequence[Prediction]
) -> list[Prediction]:
    """Write down the attempts that are new; returns what was not there before."""
    failed, attempts = [], {}
    for prediction in predictions:
        if why := _why_not(prediction):
            work.failed[prediction.sample_id] = why
            failed.append(prediction)
            continue
        attempt = _attempt(teacher, work.options, each, prediction)
        if work.add(attempt):
            attempts[prediction.sample_id] = attempt
    work.keep(list(attempts.values()))
    return [*failed, *(p for p in predictions if p.sample_id in attempts)]


def _at_least(number: int, parts: Iterable[Sequence[Prediction]]) -> Iterator[list[Prediction]]:
    """The predictions, so many at a time; fewer at the end, and where it is cut short."""
    gathered: list[Prediction] = []
    try:
        for part in parts:
            gathered += part
            if len(gathered) >= number:
                full, gathered = gathered, []
                yield full
    except (Interrupted, HarnessError):
        if gathered:
            yield gathered
        raise
    if gathered:
        yield gathered


def _why_not(prediction: Prediction) -> str | None:
    """Why what came back is no attempt at a rationale; None where it is one."""
    if prediction.finish == REFUSAL:
        return f"refused: {prediction.raw[:200]}"
    return prediction.error


def _runner(model: Model, teacher: Teacher, work: Work, each: Round) -> Runner:
    return Runner(
        model,
        teacher_task(work.data.task, work.options.inputs, hinted=each.hinted),
        prompts=PromptSettings(style="structured", truncate=work.options.truncate),
        decoding=_decoding(teacher, work.options, each),
        digests=work.data.digests,
    )


def _decoding(teacher: Teacher, options: RationaleOptions, each: Round) -> Decoding:
    """Greedy at first, and with a hint; sampled, each attempt with a seed of its own, between."""
    greedy = Decoding(max_new_tokens=teacher.max_new_tokens, stop=structured.END)
    if each.hinted or each.number == 1:
        return greedy
    return replace(
        greedy,
        temperature=options.temperature,
        top_p=options.top_p,
        seed=options.seed * 1000 + each.number,
    )


def _attempt(
    teacher: Teacher, options: RationaleOptions, each: Round, prediction: Prediction
) -> Attempt:
    return Attempt(
        id=prediction.sample_id,
        attempt=each.number,
        hinted=each.hinted,
        images=prediction.images,
        teacher=teacher.name,
        teacher_fingerprint=teacher.fingerprint(),
        prompt_version=PROMPT_VERSION,
        decoding=asdict(_decoding(teacher, options, each)),
        prompt=prediction.prompt,
        raw=prediction.raw,
        tokens=prediction.tokens,
        seconds=prediction.seconds,
        truncated=prediction.truncated,
    )


def _fingerprint(teacher: Teacher, data: Data, options: RationaleOptions) -> dict[str, Any]:
    """What must be equal for texts to belong together; the weights' hash is added when known.

    Filter, limit, number of attempts and, where all texts are greedy, batch size are not in it:
    they change no text.
    """
    known = {
        **data_fingerprint(data, options),
        "teacher_input": sorted(options.inputs),
        "prompt_version": PROMPT_VERSION,
        "prompt": _prompt_hash(teacher, data, options),
        "max_new_tokens": teacher.max_new_tokens,
        "truncate": options.truncate or None,  # what has no such field was asked in full
        **teacher.settings,
    }
    if options.attempts > 1:
        known["sampling"] = {
            "temperature": options.temperature,
            "top_p": options.top_p,
            "seed": options.seed,
            "batch_size": options.batch_size,
        }
    return known


def _prompt_hash(teacher: Teacher, data: Data, options: RationaleOptions) -> str:
    """A hash of the wording: of the first sample as the teacher is asked, with and without hint."""
    digest = sha256(teacher.instruction.encode())
    for sample in data.samples.samples[:1]:
        question = data.task.prompt(blank(sample), "structured").text
        for hinted in (False, True):
            text = wording(question, sample, options.inputs, hinted=hinted)
            digest.update(f"\0{text}".encode())
    return f"sha256:{digest.hexdigest()}"
