"""A teacher writes a rationale for each training question (section 3.1).

Compare the settings with those of what is there, ask for what is missing batch by batch, keep and
reject, record. `importing` does the same with texts that were written elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

from distill.layout import Workspace
from distill.options import RationaleOptions, Round
from distill.questions import Questions
from distill.rationales.attempts import Work
from distill.rationales.prompt import PROMPT_VERSION, teacher_task, wording
from distill.rationales.store import Attempt
from distill.rationales.teacher import Teacher
from harness.core import progress, structured
from harness.core.errors import HarnessError
from harness.core.interrupts import Interrupted, interrupts
from harness.core.types import REFUSAL, Decoding, Model, Prediction
from harness.data.fingerprint import blank
from harness.run.folder import RunFolder
from harness.run.prompting import PromptSettings
from harness.run.runner import Runner

log = logging.getLogger(__name__)


def generate(
    teacher: Teacher, workspace: Workspace, questions: Questions, *, options: RationaleOptions
) -> dict[str, Any]:
    """Ask for what is missing and write the files of `store`; returns the record.

    Raises:
        HarnessError: what is there was made with other settings, or is being written to; or a
            server is gone, and what it wrote is kept.
        Interrupted: asked to stop; the same call resumes.
    """
    options.check(questions.data.task)
    work = Work(workspace, questions, options)
    with RunFolder(workspace.folder).locked():
        work.open()
        known = _fingerprint(teacher, questions, options)
        work.compare(known)
        if not work.is_over:
            teacher.load()  # while it is hashed
        if weights := teacher.fingerprint():
            known["weights"] = weights
        known |= teacher.rendering()
        work.compare(known)
        work.begin(known, about=teacher.about)
        if not work.is_over:
            _ask(teacher, work)
        work.require_any()
        return work.finish()


def _ask(teacher: Teacher, work: Work) -> None:
    """Load the teacher and go through the rounds."""
    model = teacher.load()
    device = model.description.get("device")
    try:
        for each in work.rounds:
            _ask_round(model, teacher, work, each)
    except (Interrupted, HarnessError):
        with interrupts.shielded():
            work.add_session(device)
            work.finish("interrupted")
        log.info(
            "What was written is in %s; run the same command again to resume.", work.store.folder
        )
        raise
    work.add_session(device)


def _ask_round(model: Model, teacher: Teacher, work: Work, each: Round) -> None:
    """Ask what is still missing in a round. Its texts are on disk before the next begins, as they
    decide what is asked again."""
    asked = {sample.id: sample for sample in work.samples_of(each)}
    done = sum(work.has(sample, each) for sample in asked.values())
    if done == len(asked):
        return
    label = f"{work.questions.data.task.name} · rationales by {teacher.name}"
    if len(work.rounds) > 1:
        label += ", with a hint" if each.hinted else f", attempt {each.number}"
    rows = work.options.rows
    runner = _runner(model, teacher, work, each)
    with progress.make(label, total=len(asked), done=done, unit="samples") as bar:
        batches = work.batches(each, whole=not runner.streams)
        answers = runner.answers(
            batches,
            slots=rows,
            workers=teacher.workers(len(asked) - done),
            among=list(asked.values()),
        )
        for predictions in _at_least(rows, answers):
            with interrupts.shielded():
                replaced = work.replaces
                new = _record(teacher, work, each, predictions)
                answered = [asked[prediction.sample_id] for prediction in new]
                over = [s for s in answered if s.id in work.failed or work.is_decided(s)]
                if not replaced:
                    kept, rejected = work.views(over)
                    work.store.append_views(kept, rejected)
                elif not work.replaces:
                    work.write_views()
            bar.advance(len(new), tokens=sum(prediction.tokens or 0 for prediction in new))


def _record(
    teacher: Teacher, work: Work, each: Round, predictions: Sequence[Prediction]
) -> list[Prediction]:
    """Append the attempts that are new; returns what was not there before."""
    failed, attempts = [], {}
    for prediction in predictions:
        if why := _why_not(prediction):
            work.failed[prediction.sample_id] = why
            failed.append(prediction)
            continue
        attempt = _attempt(teacher, work.options, each, prediction)
        if work.add(attempt):
            attempts[prediction.sample_id] = attempt
    work.append(list(attempts.values()))
    return [*failed, *(p for p in predictions if p.sample_id in attempts)]


def _at_least(number: int, parts: Iterable[Sequence[Prediction]]) -> Iterator[list[Prediction]]:
    """The predictions in lists of at least `number`; fewer at the end, and at an interrupt."""
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
    """Why a prediction is no attempt at a rationale; None where it is one."""
    if prediction.finish == REFUSAL:
        return f"refused: {prediction.raw[:200]}"
    return prediction.error


def _runner(model: Model, teacher: Teacher, work: Work, each: Round) -> Runner:
    return Runner(
        model,
        teacher_task(work.questions.data.task, work.options.inputs, hinted=each.hinted),
        prompts=PromptSettings(style="structured", truncate=work.options.truncate),
        decoding=_decoding(teacher, work.options, each),
        digests=work.questions.data.digests,
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


def _fingerprint(
    teacher: Teacher, questions: Questions, options: RationaleOptions
) -> dict[str, Any]:
    """What must be equal for texts to belong together; the weights' hash is added when known.

    Filter, limit, number of attempts and, where all texts are greedy, batch size are not in it:
    they change no text.
    """
    known = {
        **questions.fingerprint(),
        "teacher_input": sorted(options.inputs),
        "prompt_version": PROMPT_VERSION,
        "prompt": _prompt_hash(teacher, questions, options),
        "max_new_tokens": teacher.max_new_tokens,
        "truncate": options.truncate or None,  # what has no such field was asked in full
        **teacher.settings,
    }
    if options.attempts > 1:
        known["sampling"] = {
            "temperature": options.temperature,
            "top_p": options.top_p,
            "seed": options.seed,
            "batch_size": options.rows,
        }
    return known


def _prompt_hash(teacher: Teacher, questions: Questions, options: RationaleOptions) -> str:
    """A hash of the wording: of the first sample as the teacher is asked, with and without hint."""
    digest = sha256(teacher.instruction.encode())
    data = questions.data
    for sample in data.samples.samples[:1]:
        question = data.task.prompt(blank(sample), "structured").text
        for hinted in (False, True):
            text = wording(question, sample, options.inputs, hinted=hinted)
            digest.update(f"\0{text}".encode())
    return f"sha256:{digest.hexdigest()}"
