"""Teachers write rationales for the training questions (section 3.1).

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
from distill.rationales.fingerprint import Fingerprint
from distill.rationales.gains import Scorer, leave_out_others, score_attempts
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
    teachers: Sequence[Teacher],
    workspace: Workspace,
    questions: Questions,
    *,
    options: RationaleOptions,
    scorer: Scorer | None = None,
) -> dict[str, Any]:
    """Ask for what is missing and write the files of `store`; returns the record.

    Args:
        scorer: scores the attempts, where the method that chooses among them needs it.

    Raises:
        HarnessError: what is there was made with other settings, or is being written to; or a
            server is gone, and what it wrote is kept.
        Interrupted: asked to stop; the same call resumes.
    """
    options.check(questions.data.task)
    names = [teacher.name for teacher in teachers]
    if len(set(names)) < len(names):
        raise HarnessError("--teacher names the same teacher twice.", known=", ".join(names))
    work = Work(workspace, questions, options, teachers=names)
    with RunFolder(workspace.folder).locked():
        work.open()
        if scorer is not None:
            leave_out_others(work, scorer)
        known = _fingerprint(teachers, questions, options)
        work.compare(known)
        if len(teachers) == 1 and not work.is_asked:
            teachers[0].load()  # while it is hashed
        known = _with_weights(known, teachers)
        work.compare(known)
        work.begin(known, about=[teacher.about for teacher in teachers])
        if not work.is_over:
            _fill(teachers, work, known, scorer=scorer)
        work.require_any()
        return work.finish()


def _with_weights(known: Fingerprint, teachers: Sequence[Teacher]) -> Fingerprint:
    """With what is known of the teachers once they are hashed, or loaded."""
    more = {
        teacher.name: {
            **known.teachers[teacher.name],
            **({"weights": weights} if (weights := teacher.fingerprint()) else {}),
            **teacher.rendering(),
        }
        for teacher in teachers
    }
    return Fingerprint(known.shared, more)


def _fill(
    teachers: Sequence[Teacher], work: Work, known: Fingerprint, *, scorer: Scorer | None
) -> None:
    """Ask and score what is missing."""
    asked: list[str | None] = []
    try:
        _ask(teachers, work, known, devices=asked)
        if scorer is not None:
            score_attempts(work, scorer)
    except (Interrupted, HarnessError):
        with interrupts.shielded():
            work.add_session(next(iter(asked), None))
            work.finish("interrupted")
        log.info(
            "What was written is in %s; run the same command again to resume.", work.store.folder
        )
        raise
    work.add_session(next(iter(asked), None))


def _ask(
    teachers: Sequence[Teacher], work: Work, known: Fingerprint, *, devices: list[str | None]
) -> None:
    """Go through the rounds, with one teacher in memory at a time; `devices` is given where each
    runs."""
    by_name = {teacher.name: teacher for teacher in teachers}
    model: Model | None = None
    loaded = ""
    for each in work.rounds:
        if not work.lacks(each):
            continue
        teacher = by_name[each.teacher]
        if model is None or loaded != teacher.name:
            model = None  # the other one's memory is free before this one is loaded
            model, loaded = teacher.load(), teacher.name
            devices.append(model.description.get("device"))
            known = _with_weights(known, teachers)
            work.compare(known)
            work.begin(known, about=[one.about for one in teachers])
        _ask_round(model, teacher, work, each)


def _ask_round(model: Model, teacher: Teacher, work: Work, each: Round) -> None:
    """Ask what is still missing in a round. Its texts are on disk before the next begins, as they
    decide what is asked again."""
    asked = {sample.id: sample for sample in work.samples_of(each)}
    done = sum(work.has(sample, each) for sample in asked.values())
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
                over = [sample for sample in answered if work.is_settled(sample)]
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
            work.failed[prediction.sample_id, teacher.name] = why
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
    teachers: Sequence[Teacher], questions: Questions, options: RationaleOptions
) -> Fingerprint:
    """What must be equal for texts to belong together; the weights' hash is added when known.

    Filter, limit, number of attempts and, where all texts are greedy, batch size are not in it:
    they change no text. Nor is the choice among them, or which of several teachers is asked what.
    """
    shared: dict[str, Any] = {
        **questions.fingerprint(),
        "teacher_input": sorted(options.inputs),
        "prompt_version": PROMPT_VERSION,
        "truncate": options.truncate or None,  # what has no such field was asked in full
    }
    if options.attempts > 1:
        shared["sampling"] = {
            "temperature": options.temperature,
            "top_p": options.top_p,
            "seed": options.seed,
            "batch_size": options.rows,
        }
    own = {
        teacher.name: {
            "prompt": _prompt_hash(teacher, questions, options),
            "max_new_tokens": teacher.max_new_tokens,
            **teacher.settings,
        }
        for teacher in teachers
    }
    return Fingerprint(shared, own)


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
