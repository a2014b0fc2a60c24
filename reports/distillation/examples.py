"""Questions with what models wrote for them, as examples in the panel of a distillation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from harness.core import structured
from harness.core.types import Prediction
from reports.distillation.models import ModelRun, Models
from reports.distillation.summary import few
from reports.inputs import runs, sanitize
from reports.inputs.material import Distillation
from reports.numbers import counted, fixed
from reports.statistics.paired import shared

MAX_OUTPUT = 4000
"""Bytes of one output in an example; the sample browser has more."""

STAGES = {
    "SUMMARY": "summary",
    "CAPTION": "caption",
    "REASONING": "reasoning",
    "CONCLUSION": "conclusion",
}

Picture = Callable[[Sequence[str]], str]
"""The address of the first of these images that is found, by its sha256; "" for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What one model wrote for one question."""

    who: str
    role: str
    verdict: str
    """right, wrong or unparsed, with the extracted answer."""
    stages: tuple[tuple[str, str], ...]
    """(tag, text) of a structured answer; empty: it has none."""
    raw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A question with what models made of it."""

    id: str
    """Of the sample, as the page shows it."""
    run: str
    """The id of a run that answered it."""
    about: str
    """Topic and id, in words."""
    picture: str
    question: str
    choices: tuple[tuple[str, str, bool], ...]
    """(letter, text, whether it is the gold option)."""
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class TrainingRationale:
    """A rationale of the training set."""

    prompt: str
    """As it was sent to the teacher; empty where it was not asked."""
    output: Output


@dataclass(frozen=True, slots=True)
class TeacherLead:
    """Questions that the teacher gets right and the student does not."""

    verdict: str
    words: str
    example: Example | None


def input_output(models: Models, picture: Picture) -> Example | None:
    """A question that the distilled student got right, or nearest to it, and wrote all four stages
    for; where there is one, one that it had not got right before."""
    base, student, teacher = models.base, models.student, models.teacher
    if student is None:
        return None

    def merit(p: Prediction) -> tuple[float, bool, bool, float, bool]:
        now, before, taught = (
            model.score(p.sample_id) if model else None for model in (student, base, teacher)
        )
        return (
            -math.inf if now is None else now,
            structured.parse(p.raw).well_formed,
            now is not None and before is not None and before < now,
            -math.inf if taught is None else taught,
            bool(p.images),
        )

    best = max(student.predictions.values(), key=merit, default=None)  # the first of equals
    answered_by = [model for model in (teacher, base, student) if model]
    return None if best is None else make_example(best, answered_by, picture)


def training_rationale(found: Distillation) -> TrainingRationale | None:
    """The first kept rationale."""
    first = next(iter(found.kept()), None)
    if first is None:
        return None
    parts = {tag: sanitize.passage(first.get(key), limit=MAX_OUTPUT) for tag, key in STAGES.items()}
    about = sanitize.mapping(found.rationales.get("teacher"))
    return TrainingRationale(
        sanitize.passage(first.get("prompt"), limit=MAX_OUTPUT),
        Output(
            who=sanitize.text(about.get("title") or first.get("teacher"), limit=80) or "Teacher",
            role="teacher",
            verdict="",
            stages=tuple((tag, text) for tag, text in parts.items() if text),
            raw="",
        ),
    )


def teacher_lead(models: Models, picture: Picture) -> TeacherLead | None:
    """Count what the teacher got right and the student did not, or got a better score for; None
    without both runs, or where answers have no scores of their own."""
    student, teacher = models.student, models.teacher
    if student is None or teacher is None:
        return None
    if not student.answers.metric.is_same(teacher.answers.metric):
        return None
    scores = {
        key: (ours, theirs)
        for key in shared(student.answers.scored, teacher.answers.scored)
        if (ours := student.score(key)) is not None and (theirs := teacher.score(key)) is not None
    }
    if not scores:
        return None
    only = [key for key, (ours, theirs) in scores.items() if theirs > ours]
    back = sum(ours > theirs for ours, theirs in scores.values())
    topics: dict[str, int] = {}
    for key in only:
        topic = student.answers.topics.get(key, "") or "no topic"
        topics[topic] = topics.get(topic, 0) + 1
    order = sorted(topics.items(), key=lambda pair: (-pair[1], pair[0]))
    both = "" if student.answered == teacher.answered == len(scores) else " that both answered"
    asked = f"{counted(len(scores), 'question')}{both}"
    verdict = f"{len(only):,} of {asked}; the reverse: {back:,}."
    binary = student.answers.scored.test == teacher.answers.scored.test == "mcnemar"
    text = (
        f"{teacher.title} is right and {student.title} is wrong"
        if binary
        else f"{teacher.title} has a better {student.answers.metric.in_words} than {student.title}"
    )
    if order:
        text += f": {few([f'{topic} {count:,}' for topic, count in order])}"
    chosen = one_a_topic([student.predictions[key] for key in only if key in student.predictions])
    example = make_example(chosen[0], [teacher, student], picture) if chosen else None
    return TeacherLead(verdict, f"{text}.", example)


def one_a_topic(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Those of other topics first, in their order: an example should not be of one kind."""
    first: dict[str, Prediction] = {}
    for p in predictions:
        first.setdefault(p.topic, p)
    rest = [p for p in predictions if first[p.topic] is not p]
    return [*first.values(), *rest]


def make_example(p: Prediction, models: Sequence[ModelRun], picture: Picture) -> Example:
    """The question of `p` with the answers of `models`."""
    outputs = []
    for model in models:
        found = model.predictions.get(p.sample_id)
        if found is not None:
            outputs.append(_output(model, found))
    topic = sanitize.text(p.topic, limit=60)
    return Example(
        id=sanitize.text(p.sample_id),
        run=runs.run_id(models[0].evidence.record),
        about=" · ".join(part for part in (topic, sanitize.text(p.sample_id, limit=80)) if part),
        picture=picture(p.images),
        question=sanitize.passage(p.question, limit=MAX_OUTPUT),
        choices=tuple(
            (_letter(place), sanitize.passage(choice, limit=1000), place == p.target)
            for place, choice in enumerate(p.choices[:40])
        ),
        outputs=tuple(outputs),
    )


def _letter(place: int) -> str:
    return ascii_uppercase[place] if place < len(ascii_uppercase) else str(place + 1)


def _output(model: ModelRun, p: Prediction) -> Output:
    parsed = structured.parse(p.raw)
    texts = (parsed.summary, parsed.caption, parsed.reasoning, parsed.conclusion)
    stages = tuple(
        (tag, sanitize.passage(text, limit=MAX_OUTPUT))
        for tag, text in zip(STAGES, texts, strict=True)
        if text
    )
    if p.answer is None:
        verdict = f"unparsed ({sanitize.text(p.rule, limit=60)}), counted as wrong"
    elif isinstance(p.answer, int):
        verdict = f"{_letter(p.answer)}, {'right' if p.correct else 'wrong'}"
    else:
        metric, score = model.answers.metric, model.score(p.sample_id)
        got = "" if score is None else f", {metric.title} {fixed(score * metric.sign, 2)}"
        verdict = f"{sanitize.text(p.answer)}{got}"
    return Output(
        who=model.title,
        role=model.role,
        verdict=verdict,
        stages=stages,
        raw="" if stages else sanitize.passage(p.raw, limit=MAX_OUTPUT),
    )
