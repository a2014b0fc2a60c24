"""The panel of a distillation: what was taught, how training went, what was gained and where it was
lost, and what the answers look like from inside.

What a distillation left on disk may be partial, and may come from anywhere: each part is shown that
is there, and numbers and texts pass `reports.inputs.sanitize`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from harness.core import structured
from harness.core.files.paths import safe_name
from harness.core.types import Prediction, Value
from reports.charts import curves
from reports.charts.curves import Curve, Scatter, Topic
from reports.inputs import runs, sanitize
from reports.inputs.material import Distillation, Evidence, Structure, Training
from reports.statistics.answers import Answers
from reports.tables import heatmap
from reports.tables.heatmap import Change
from reports.tables.table import (
    Cell,
    Group,
    Heading,
    Row,
    Table,
    fixed,
    interval,
    labelled,
    missing,
    table,
)

EXAMPLES = 3
"""Of reasoning that ends in an error."""
LONGEST = 4000
"""Bytes of one output in an example; the sample browser has more."""

MEASURES = (
    ("complete", "All four stages", "each there once, filled and in order", 100),
    ("well_formed", "Well formed", "complete, every tag closed, nothing outside", 100),
    ("conclusion_right", "Conclusion right", "it is the gold option", 100),
    ("reasoning_right", "Reasoning right", "it arrives at the gold option and no other", 100),
    ("reasoning_agrees", "Reasoning agrees", "with the conclusion", 100),
    ("leaks_in_summary", "Leak in the summary", "it gives the gold option away", 100),
    ("leaks_in_caption", "Leak in the caption", "it gives the gold option away", 100),
    ("repetition", "Repetition", "word 4-grams that had been there before", 100),
    ("rouge_l", "Overlap", "ROUGE-L of the reasoning with the data's own solution", 1),
    ("words", "Words", "in all stages together", 1),
)
DEPENDENCE = (
    ("image_helps", "Image helps", "rationales that the picture makes likelier", 100),
    ("image_gain", "Image gain", "nats per token that the picture saves", 1),
)
TAGS = (
    ("all_tags", "All four tags", "opened and filled", 100),
    ("well_formed", "Well formed", "also closed, in order, once, nothing outside", 100),
    (
        "reasoning_to_error",
        "Reasoning-to-error",
        "of the wrong answers with a reasoning: it had arrived at the gold option",
        100,
    ),
    ("reasoning_to_error_of_all", "Lost that way", "the same, of all answers", 100),
)

Picture = Callable[[Sequence[str]], str]
"""The address of the first of these pictures that is at hand, by its sha256; "" for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What one model wrote for one question."""

    who: str
    role: str
    verdict: str
    """right, wrong, or unread, with what was read."""
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
class Taught:
    """A rationale as it was taught."""

    prompt: str
    """As it was sent to the teacher; empty where it was not asked."""
    output: Output


@dataclass(frozen=True, slots=True)
class Behind:
    """What the teacher got right that the student did not."""

    verdict: str
    words: str
    example: Example | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Everything that the page says of one distillation; None and empty where it left nothing."""

    id: str
    title: str
    label: str
    """"mini (synthetic)" where its runs are."""
    lead: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    gains: Table | None
    compared: tuple[str, ...]
    """Pairs of runs in words: student, control and teacher against the distilled one."""
    curve: Curve | None
    scatter: Scatter | None
    kept: Table | None
    reasons: tuple[tuple[str, int], ...]
    """Why rationales were dropped, most frequent first."""
    quality: Table | None
    tags: Table | None
    errors: str
    error_examples: tuple[Example, ...]
    shown: Example | None
    taught: Taught | None
    behind: Behind | None
    problems: tuple[str, ...]

    @property
    def tables(self) -> tuple[Table, ...]:
        return tuple(t for t in (self.gains, self.kept, self.quality, self.tags) if t)


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One of the models of a distillation, with its run on the test questions."""

    evidence: Evidence
    answers: Answers
    predictions: Mapping[str, Prediction]

    @property
    def title(self) -> str:
        return runs.title(self.evidence.record)

    @property
    def role(self) -> str:
        return runs.role(self.evidence.record)


def panel(
    found: Distillation,
    answers: Mapping[str, Answers],
    *,
    structure: Callable[[Sequence[Prediction]], Structure],
    picture: Picture,
) -> Panel:
    """What the page says of a distillation.

    Args:
        found: what it left on disk, and its runs.
        answers: by run id.
        structure: takes structured answers apart.
        picture: the address of a picture that an answer names.
    """
    training, control = found.training, found.control
    name = f"distillation:{safe_name(sanitize.text(found.name))}"
    student = _side(training.runs if training else (), answers, None)
    anchor = student.evidence if student else None
    base = _side(found.base, answers, anchor)
    taught_control = _side(control.runs if control else (), answers, anchor)
    teacher = _side(found.teacher, answers, anchor)
    trained = _trained(found)
    change = heatmap.changes(base.answers, student.answers) if base and student else {}
    label = runs.label(student.evidence.record) if student else ""

    def named(it: Table | None) -> Table | None:
        return labelled(it, label) if it else None

    structures = {
        side: structure(list(side.predictions.values()))
        for side in (teacher, base, student)
        if side
    }
    return Panel(
        id=name,
        title=student.title if student else sanitize.text(found.name, limit=80),
        label=label,
        lead=tuple(_lead(base, student, change)),
        facts=tuple((lead, text) for lead, text in _facts(found, base, teacher) if text),
        gains=named(_gains(name, change, trained, base, student)),
        compared=tuple(_compared(student, taught_control, teacher)),
        curve=_curve(name, training, control),
        scatter=_scatter(name, change, trained),
        kept=named(_kept(name, found)),
        reasons=tuple(_reasons(found)),
        quality=named(_quality(name, found)),
        tags=named(_tags(name, structures)),
        errors=_errors(student, structures),
        error_examples=_error_examples(student, structures, picture),
        shown=_shown(base, student, teacher, picture),
        taught=_taught(found),
        behind=_behind(student, teacher, picture),
        problems=tuple(sanitize.text(problem, limit=400) for problem in found.problems),
    )


def _side(
    candidates: Sequence[Evidence], answers: Mapping[str, Answers], anchor: Evidence | None
) -> _Side | None:
    """The run that tells most: on the questions of `anchor`, else the one with most answers."""
    best: tuple[tuple[bool, int], Evidence, Answers] | None = None
    for evidence in candidates:
        known = answers.get(runs.run_id(evidence.record))
        if known is None or known.test != "mcnemar":
            continue
        if anchor is not None and evidence.record.task.name != anchor.record.task.name:
            continue
        same = anchor is not None and runs.same_questions(evidence.record) == runs.same_questions(
            anchor.record
        )
        if best is None or (same, known.answered) > best[0]:
            best = (same, known.answered), evidence, known
    if best is None:
        return None
    _, evidence, known = best
    predictions = {p.sample_id: p for p in evidence.predictions() if p.error is None}
    return _Side(evidence, known, predictions)


# In words


def _lead(base: _Side | None, student: _Side | None, change: Mapping[str, Change]) -> Iterable[str]:
    if not (base and student and change):
        return
    whole = change[""]
    yield (
        f"{fixed(whole.difference, 2, sign='+')} points, from {base.title} "
        f"{fixed(whole.first / whole.n * 100, 2)}% to {student.title} "
        f"{fixed(whole.second / whole.n * 100, 2)}%."
    )
    sure = "certain" if whole.certain else "which chance may explain"
    yield f"On the same {whole.n:,} questions, 95% interval {_ends(whole)}: {sure}."
    topics = {topic: each for topic, each in change.items() if topic}
    for certain, better, worse in (
        (True, "Surely better", "surely worse"),
        (False, "Higher, though chance may explain it", "lower, though chance may explain it"),
    ):
        parts = []
        for words, sign in ((better, 1), (worse, -1)):
            names = [
                f"{topic} ({fixed(each.difference, 1, sign='+')})"
                for topic, each in sorted(topics.items(), key=lambda t: -abs(t[1].difference))
                if each.certain is certain and each.difference * sign > 0
            ]
            if names:
                parts.append(f"{words}: {_few(names)}")
            elif certain:
                parts.append(f"{words} in no topic")
        if parts:
            yield f"{_capital('; '.join(parts))}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _few(names: Sequence[str], most: int = 6) -> str:
    shown = list(names[:most])
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return ", ".join(shown)


def _ends(each: Change) -> str:
    return " to ".join(fixed(end, 1, sign="+") for end in (each.low, each.high))


def _facts(
    found: Distillation, base: _Side | None, teacher: _Side | None
) -> Iterable[tuple[str, str]]:
    about = sanitize.mapping(found.rationales.get("teacher"))
    data = sanitize.mapping(found.rationales.get("data"))
    settings = sanitize.mapping(found.rationales.get("settings"))
    counts = sanitize.mapping(found.rationales.get("counts"))
    name = sanitize.text(about.get("title") or about.get("name"), limit=80)
    yield "Teacher", name or (teacher.title if teacher else "")
    yield "Student before training", base.title if base else ""
    split = sanitize.text(data.get("split"), limit=40)
    source = (sanitize.text(data.get("title"), limit=80), f"{split} split" if split else "")
    yield "Training questions", ", ".join(part for part in source if part)
    numbers = {key: sanitize.whole(counts.get(key)) for key in ("selected", "kept", "hinted")}
    if numbers["selected"] is not None and numbers["kept"] is not None:
        text = f"{numbers['kept']:,} kept of {numbers['selected']:,} asked for"
        if numbers["hinted"]:
            text += f"; {numbers['hinted']:,} only with the answer as a hint"
        yield "Rationales", text
    yield "Filter", sanitize.text(settings.get("filter"), limit=40)
    if found.training:
        yield "Training", _training(found.training)
    if found.control:
        yield "Control, answers alone", _training(found.control)


def _training(training: Training) -> str:
    config = sanitize.mapping(training.record.get("config"))
    counts = sanitize.mapping(training.record.get("counts"))
    parts = []
    if (used := sanitize.whole(counts.get("used"))) is not None:
        parts.append(f"{used:,} questions")
    if (steps := sanitize.whole(training.record.get("steps"))) is not None:
        parts.append(f"{steps:,} steps")
    if (batch := sanitize.whole(config.get("batch_size"))) is not None:
        parts.append(f"batch {batch:,}")
    if (rate := sanitize.number(config.get("learning_rate"))) is not None:
        parts.append(f"learning rate {rate:g}")
    if (epochs := sanitize.number(config.get("epochs"))) is not None:
        parts.append(f"{epochs:g} epoch{'' if epochs == 1 else 's'}")
    status = sanitize.text(training.record.get("status"), limit=20)
    return ", ".join([*parts, *([status] if status and status != "complete" else [])])


def _compared(student: _Side | None, control: _Side | None, teacher: _Side | None) -> Iterable[str]:
    for other, what in ((control, "taught the answers alone"), (teacher, "the teacher")):
        if student is None or other is None:
            continue
        whole = heatmap.changes(other.answers, student.answers).get("")
        if whole is None:
            continue
        words = (
            "better"
            if whole.certain and whole.difference > 0
            else "worse"
            if whole.certain
            else "not surely better or worse"
        )
        yield (
            f"Against {other.title}, {what}: {fixed(whole.difference, 2, sign='+')} points, "
            f"{_ends(whole)}, n {whole.n:,}; {words}."
        )


# Tables and drawings


def _trained(found: Distillation) -> dict[str, int]:
    """Topic -> questions that the student was trained on or, where that is not known, kept
    rationales."""
    record: Mapping[str, object] = found.training.record if found.training else {}
    by_topic = sanitize.mapping(sanitize.mapping(record.get("counts")).get("by_topic"))
    kept = {
        topic: sanitize.mapping(each).get("kept")
        for topic, each in sanitize.mapping(
            sanitize.mapping(found.rationales.get("counts")).get("topics")
        ).items()
    }
    return {
        sanitize.text(topic, limit=60): number
        for topic, count in (by_topic or kept).items()
        if (number := sanitize.whole(count)) is not None
    }


def _gains(
    name: str,
    change: Mapping[str, Change],
    trained: Mapping[str, int],
    base: _Side | None,
    student: _Side | None,
) -> Table | None:
    if not (base and student and change):
        return None
    rows = []
    for topic, each in change.items():
        shares = [each.first / each.n * 100, each.second / each.n * 100]
        count = sum(trained.values()) if not topic else trained.get(topic, 0)
        rows.append(
            Row(
                title=topic or "All questions",
                cells=(
                    Cell(text=f"{count:,}", value=count)
                    if trained
                    else missing("the training left no counts"),
                    *(
                        Cell(text=fixed(s, 2), value=s, n=each.n, tone=heatmap.heat(s))
                        for s in shares
                    ),
                    heatmap.cell(each),
                    Cell(text=_verdict(each), kind="text"),
                ),
            )
        )
    return table(
        f"{name}-gains",
        f"Where {student.title} gained and lost against {base.title}, on the same questions",
        [
            Heading(key="trained", title="Trained", meaning="training questions of the topic"),
            Heading(key="first", title=base.title, implied_unit="%"),
            Heading(key="second", title=student.title, implied_unit="%"),
            Heading(key="difference", title="Difference", unit="points"),
            Heading(
                key="words",
                title="In words",
                meaning="exact McNemar at 5%, Holm's correction over the topics",
                kind="text",
                best="ascending",
            ),
        ],
        groups=[Group(rows=tuple(rows))],
        row_title="Topic",
    )


def _verdict(each: Change) -> str:
    if not each.certain:
        return "no clear difference"
    return "gained" if each.difference > 0 else "lost"


def _curve(name: str, training: Training | None, control: Training | None) -> Curve | None:
    trainings = []
    for each, role in ((training, "distilled"), (control, "baseline")):
        if each is not None:
            title = sanitize.text(each.name, limit=60) + (
                ", the control" if role == "baseline" else ""
            )
            trainings.append((title, role, curves.losses(each.log())))
    return curves.curve(trainings, name=f"{name}-loss")


def _scatter(name: str, change: Mapping[str, Change], trained: Mapping[str, int]) -> Scatter | None:
    from harness.metrics.statistics import wilson

    topics = []
    for topic, each in change.items():
        if topic and trained:
            low, high = wilson(each.second, each.n)
            topics.append(
                Topic(
                    name=topic,
                    trained=trained.get(topic, 0),
                    accuracy=each.second / each.n * 100,
                    low=low * 100,
                    high=high * 100,
                    n=each.n,
                    gain=each.difference,
                )
            )
    return curves.scatter(topics, name=f"{name}-topics")


def _kept(name: str, found: Distillation) -> Table | None:
    topics = sanitize.mapping(sanitize.mapping(found.rationales.get("counts")).get("topics"))
    rows = []
    for topic, each in topics.items():
        counts = [sanitize.whole(sanitize.mapping(each).get(key)) for key in ("kept", "dropped")]
        rows.append(
            (
                -(counts[0] or 0),
                Row(
                    title=sanitize.text(topic, limit=60) or "no topic",
                    cells=tuple(
                        missing("the record holds no number here")
                        if count is None
                        else Cell(text=f"{count:,}", value=count)
                        for count in counts
                    ),
                ),
            )
        )
    if not rows:
        return None
    rows.sort(key=lambda pair: (pair[0], pair[1].title))
    return table(
        f"{name}-kept",
        "Rationales by topic",
        [Heading(key="kept", title="Kept"), Heading(key="dropped", title="Dropped")],
        groups=[Group(rows=tuple(row for _, row in rows))],
        row_title="Topic",
    )


def _reasons(found: Distillation) -> Iterable[tuple[str, int]]:
    counts = sanitize.mapping(found.rationales.get("counts"))
    reasons = sanitize.mapping(counts.get("reasons"))
    known = [
        (sanitize.text(reason, limit=200), number)
        for reason, count in reasons.items()
        if (number := sanitize.whole(count))
    ]
    return sorted(known, key=lambda pair: (-pair[1], pair[0]))[:20]


def _value(figure: object) -> Value:
    """A figure of quality.json, whatever it holds."""
    found = sanitize.mapping(figure)
    return Value(
        value=sanitize.number(found.get("value")),
        n=sanitize.whole(found.get("n")) or 0,
        low=sanitize.number(found.get("low")),
        high=sanitize.number(found.get("high")),
        note=sanitize.text(found.get("note"), limit=200),
    )


def _figure(value: Value, scale: int) -> Cell:
    if value.value is None:
        return missing(value.note or "not measured")
    ends = [None if end is None else end * scale for end in (value.low, value.high)]
    digits = 1 if scale == 100 else 2
    return Cell(
        text=fixed(value.value * scale, digits),
        value=value.value * scale,
        interval=interval(ends[0], ends[1], digits),
        low=ends[0],
        high=ends[1],
        n=value.n or None,
    )


def _quality(name: str, found: Distillation) -> Table | None:
    """The measures of the teacher's rationales and of those that students wrote themselves."""
    columns: dict[str, Mapping[str, object]] = {}
    teacher = sanitize.mapping(sanitize.mapping(found.quality.get("teacher")).get("all"))
    if teacher:
        columns["Teacher's rationales"] = sanitize.mapping(teacher.get("measures"))
    for student, each in sanitize.mapping(found.quality.get("students")).items():
        measures = sanitize.mapping(sanitize.mapping(each).get("all")).get("measures")
        columns[f"Written by {sanitize.text(student, limit=60)}"] = sanitize.mapping(measures)
    depends = sanitize.mapping(sanitize.mapping(found.quality.get("dependence")).get("all"))
    if not columns:
        return None
    rows = []
    for key, title, meaning, scale in (*MEASURES, *DEPENDENCE):
        cells = []
        for place, measures in enumerate(columns.values()):
            if (key, title, meaning, scale) in DEPENDENCE:
                taught = place == 0 and bool(teacher)
                known = depends if taught else {}
                reason = (
                    "not measured: --image-dependence does"
                    if taught
                    else "measured on what is taught only"
                )
                cells.append(
                    _figure(_value(known.get(key)), scale) if key in known else missing(reason)
                )
            else:
                cells.append(_figure(_value(measures.get(key)), scale))
        unit = " (%)" if scale == 100 else ""
        rows.append(Row(title=f"{title}{unit}", origin=meaning, cells=tuple(cells)))
    return table(
        f"{name}-quality",
        "Quality of the rationales, each measure over those that it applies to (n)",
        [Heading(key=f"column{n}", title=title) for n, title in enumerate(columns)],
        groups=[Group(rows=tuple(rows))],
        row_title="Measure",
    )


def _tags(name: str, structures: Mapping[_Side, Structure]) -> Table | None:
    if not any(each.figures for each in structures.values()):
        return None
    rows = [
        Row(
            title=side.title,
            role=side.role,
            origin=runs.origin(side.evidence.record),
            run=runs.run_id(side.evidence.record),
            cells=tuple(
                _figure(each.figures[key], scale)
                if key in each.figures
                else missing("not computed")
                for key, _, _, scale in TAGS
            ),
        )
        for side, each in structures.items()
    ]
    return table(
        f"{name}-tags",
        "Structure of the answers to the test questions, in percent",
        [
            Heading(key=key, title=title, meaning=meaning, implied_unit="%")
            for key, title, meaning, _ in TAGS
        ],
        groups=[Group(rows=tuple(rows))],
    )


# Examples


def _errors(student: _Side | None, structures: Mapping[_Side, Structure]) -> str:
    if student is None or not (found := structures[student].figures):
        return ""
    share, whole = found.get("reasoning_to_error"), found.get("reasoning_to_error_of_all")
    if share is None or share.value is None:
        return f"No wrong answer of {student.title} has a reasoning."
    count = len(structures[student].reasoning_to_error)
    text = (
        f"Of {share.n:,} wrong answers of {student.title} that have a reasoning, {count:,} "
        f"({fixed(share.value * 100, 1)}%) had arrived at the right option and then concluded "
        "another"
    )
    if whole is not None and whole.value is not None:
        text += f": {fixed(whole.value * 100, 1)} points of accuracy lost after the reasoning"
    return f"{text}."


def _error_examples(
    student: _Side | None, structures: Mapping[_Side, Structure], picture: Picture
) -> tuple[Example, ...]:
    if student is None:
        return ()
    ids = structures[student].reasoning_to_error
    chosen = _one_a_topic([student.predictions[i] for i in ids if i in student.predictions])
    return tuple(_example(p, [student], picture) for p in chosen[:EXAMPLES])


def _one_a_topic(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Those of other topics first, in their order: an example should not be of one kind."""
    first: dict[str, Prediction] = {}
    for p in predictions:
        first.setdefault(p.topic, p)
    rest = [p for p in predictions if first[p.topic] is not p]
    return [*first.values(), *rest]


def _shown(
    base: _Side | None, student: _Side | None, teacher: _Side | None, picture: Picture
) -> Example | None:
    """A question that the distilled student got right and wrote all four stages for; where there
    is one, one that it had got wrong before."""
    if student is None:
        return None

    def merit(p: Prediction) -> tuple[bool, bool, bool, bool, bool]:
        before = base.predictions.get(p.sample_id) if base else None
        taught = teacher.predictions.get(p.sample_id) if teacher else None
        return (
            bool(p.correct),
            structured.parse(p.raw).well_formed,
            before is not None and not before.correct,
            taught is not None and bool(taught.correct),
            bool(p.images),
        )

    best = max(student.predictions.values(), key=merit, default=None)  # the first of equals
    sides = [side for side in (teacher, base, student) if side]
    return None if best is None else _example(best, sides, picture)


def _taught(found: Distillation) -> Taught | None:
    """The first kept rationale."""
    first = next(iter(found.kept()), None)
    if first is None:
        return None
    parts = {tag: sanitize.passage(first.get(key), limit=LONGEST) for tag, key in _STAGES.items()}
    about = sanitize.mapping(found.rationales.get("teacher"))
    return Taught(
        sanitize.passage(first.get("prompt"), limit=LONGEST),
        Output(
            who=sanitize.text(about.get("title") or first.get("teacher"), limit=80) or "Teacher",
            role="teacher",
            verdict="",
            stages=tuple((tag, text) for tag, text in parts.items() if text),
            raw="",
        ),
    )


_STAGES = {
    "SUMMARY": "summary",
    "CAPTION": "caption",
    "REASONING": "reasoning",
    "CONCLUSION": "conclusion",
}


def _behind(student: _Side | None, teacher: _Side | None, picture: Picture) -> Behind | None:
    if student is None or teacher is None:
        return None
    right, wrong = teacher.answers.scored.scores, student.answers.scored.scores
    shared = [key for key in wrong if key in right]
    only = [key for key in shared if right[key] and not wrong[key]]
    back = sum(bool(wrong[key] and not right[key]) for key in shared)
    topics: dict[str, int] = {}
    for key in only:
        topic = student.answers.topics.get(key, "") or "no topic"
        topics[topic] = topics.get(topic, 0) + 1
    order = sorted(topics.items(), key=lambda pair: (-pair[1], pair[0]))
    verdict = f"{len(only):,} of {len(shared):,} questions; the other way round it is {back:,}."
    text = f"{teacher.title} got them right and {student.title} did not"
    if order:
        text += f": {_few([f'{topic} {count:,}' for topic, count in order])}"
    chosen = _one_a_topic([student.predictions[key] for key in only if key in student.predictions])
    example = _example(chosen[0], [teacher, student], picture) if chosen else None
    return Behind(verdict, f"{text}.", example)


def _example(p: Prediction, sides: Sequence[_Side], picture: Picture) -> Example:
    outputs = []
    for side in sides:
        found = side.predictions.get(p.sample_id)
        if found is not None:
            outputs.append(_output(side, found))
    topic = sanitize.text(p.topic, limit=60)
    return Example(
        id=sanitize.text(p.sample_id),
        run=runs.run_id(sides[0].evidence.record),
        about=" · ".join(part for part in (topic, sanitize.text(p.sample_id, limit=80)) if part),
        picture=picture(p.images),
        question=sanitize.passage(p.question, limit=LONGEST),
        choices=tuple(
            (_letter(place), sanitize.passage(choice, limit=1000), place == p.target)
            for place, choice in enumerate(p.choices[:40])
        ),
        outputs=tuple(outputs),
    )


def _letter(place: int) -> str:
    return ascii_uppercase[place] if place < len(ascii_uppercase) else str(place + 1)


def _output(side: _Side, p: Prediction) -> Output:
    parsed = structured.parse(p.raw)
    texts = (parsed.summary, parsed.caption, parsed.reasoning, parsed.conclusion)
    stages = tuple(
        (tag, sanitize.passage(text, limit=LONGEST))
        for tag, text in zip(_STAGES, texts, strict=True)
        if text
    )
    if p.answer is None:
        verdict = f"nothing read ({sanitize.text(p.rule, limit=60)}), counted as wrong"
    else:
        read = _letter(p.answer) if isinstance(p.answer, int) else sanitize.text(p.answer)
        verdict = f"{read}, {'right' if p.correct else 'wrong'}"
    return Output(
        who=side.title,
        role=side.role,
        verdict=verdict,
        stages=stages,
        raw="" if stages else sanitize.passage(p.raw, limit=LONGEST),
    )
