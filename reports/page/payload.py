"""The answers behind the figures, in the form in which the page carries them.

Runs on the same questions share one index, which is there at once: what was asked, and for each
run, the best one first, one character a question. All the rest of a question is in a block with
those of its neighbours, compressed, which is unpacked when somebody looks at one of them; so are
the pictures.

    index    JSON; see `_index`
    block    JSON in gzip in base64 in JSON: questions that follow each other; see `_entry`, `_row`
    pictures WebP, one behind the other, in base64 in JSON; their sizes are in the index

The same answers give the same bytes.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain
from typing import Any

from markupsafe import Markup

from harness.core.errors import SampleError
from harness.core.types import ImageRef, Prediction, Reading, Target, is_cut
from harness.extract import READERS
from harness.run.records import RunRecord
from reports.inputs import runs, sanitize
from reports.inputs.material import Evidence, Material, Pictures, Which

BLOCK = 200
"""Questions, or pictures, in one block."""
THUMBNAIL = (128, 96)
QUALITY = 60
"""Of WebP: about 1.3 KB a picture."""
RAW = 20_000
"""Bytes that are shown of a text."""
QUESTION = 1_000
"""Characters of a question that are there at once, and can be searched."""

RIGHT, WRONG, UNREAD, FAILED, ANSWERED, ABSENT = "rwufa-"
"""One character a question: `wrong` is what was read and is not the gold option, `answered` an
answer in words, `absent` a question that the run was not asked."""

RECORDED = "ours"
OTHERS = ("paper-base", "paper-kd")
"""Readers whose verdicts are on the page beside the recorded ones: the paper's two rules."""


@dataclass(frozen=True, slots=True)
class Block:
    """A data element of the page."""

    id: str
    text: Markup
    """JSON that was made safe by `sanitize.json_text`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What the page's script works on."""

    blocks: tuple[Block, ...]
    shown: int
    """Questions that can be looked at."""
    questions: int
    """Questions that were answered by some run."""
    notes: tuple[str, ...]
    """What was left out, and why."""
    tasks: frozenset[str]
    """Whose questions are shown."""


@dataclass(slots=True)
class _Sample:
    """A question, as the first run that was asked it has it."""

    question: str
    choices: tuple[str, ...]
    target: Target
    topic: str
    images: list[tuple[str, ...]]
    """Digests of its pictures, as each run has them: answers made elsewhere may have others."""
    pictures: list[str] = field(default_factory=list)
    """Digests for which there is a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A run's answers, by sample id."""

    record: RunRecord
    verdicts: Mapping[str, dict[str, str]]
    """Reader -> sample id -> character."""
    rows: Mapping[str, str]
    """Sample id -> the answer as JSON."""
    misled: frozenset[str]
    """Ids of wrong answers whose reasoning was right."""


@dataclass(frozen=True, slots=True)
class Group:
    """Runs on the same questions."""

    samples: dict[str, _Sample]
    runs: list[_Run]
    data: set[str]
    """Fingerprints of their data."""

    def takes(self, record: RunRecord, predictions: Sequence[Prediction]) -> bool:
        """Whether these are answers to questions of this group: of one task and split, of the same
        data or with some question in common, and none that is another question here."""
        task = self.runs[0].record.task
        if (task.name, task.split) != (record.task.name, record.task.split):
            return False
        common = [(known, p) for p in predictions if (known := self.samples.get(p.sample_id))]
        if not common and _data(record) not in self.data:
            return False
        return all(k.choices == p.choices and k.target == p.target for k, p in common)


def payload(
    material: Material,
    groups: Sequence[Group],
    *,
    samples: Which = "all",
    pictures: Pictures | None = None,
) -> Payload | None:
    """The data elements of a page; None where no run has answers.

    Args:
        material: whose distillations say which runs are before and after.
        groups: what `collect` made of its runs.
        samples: which of them can be looked at. Comparisons are over all of them in any case.
        pictures: where to look for their pictures; None: they are left out.
    """
    for group in groups:
        group.runs.sort(key=lambda run: -_accuracy(run))  # where equal, in the given order
    if not groups:
        return None
    blocks: list[Block] = []
    indices: list[dict[str, Any]] = []
    notes = list(pictures.notes) if pictures else []
    shown_of_all = lost = 0
    for place, group in enumerate(groups):
        ids = list(group.samples)
        shown = [i for i in ids if _is_shown(group, i, samples)]
        shown_of_all += len(shown)
        images: dict[str, bytes] = {}
        if pictures is not None:
            images = _pictures(group, shown, pictures)
            lost += sum(not group.samples[i].pictures for i in shown if group.samples[i].images)
        blocks += _blocks(f"answers-{place}", _packed(group, shown, images))
        blocks += _blocks(f"pictures-{place}", _joined(list(images.values())))
        indices.append(_index(material, group, ids, shown, images))
    for key, made in zip(_numbered(map(_group_key, groups)), indices, strict=True):
        made["key"] = key
    if lost:
        one = "1 question is shown without its picture, which is not at hand."
        many = f"{lost:,} questions are shown without their pictures, which are not at hand."
        notes.append(one if lost == 1 else many)
    index = {"groups": indices, "block": BLOCK, "readers": [RECORDED, *OTHERS]}
    return Payload(
        blocks=(Block("answers", Markup(sanitize.json_text(index))), *blocks),  # noqa: S704  # made safe by json_text
        shown=shown_of_all,
        questions=sum(len(group.samples) for group in groups),
        notes=tuple(dict.fromkeys(sanitize.text(note, limit=600) for note in notes)),
        tasks=frozenset(str(group.runs[0].record.task.name) for group in groups if shown_of_all),
    )


def picture_bytes(page: str) -> int:
    """How much of a page is pictures of its samples."""
    return sum(len(found[0]) for found in re.finditer(r' id="pictures-\d+-\d+">"[^"]*"', page))


# Runs on the same questions


def collect(groups: list[Group], evidence: Evidence, material: Material) -> None:
    """Put the answers of a run to those on the same questions, or into a group of their own."""
    predictions = evidence.predictions()
    if not predictions:
        return
    record = evidence.record
    group = next((group for group in groups if group.takes(record, predictions)), None)
    if group is None:
        group = Group({}, [], set())
        groups.append(group)
    group.runs.append(_run(evidence, predictions, material))
    group.data.add(_data(record))
    for p in predictions:
        known = group.samples.get(p.sample_id)
        if known is None:
            known = _Sample(p.question, p.choices, p.target, p.topic, [])
            group.samples[p.sample_id] = known
        # Answers made elsewhere need not bring all of it.
        known.question = known.question or p.question
        known.topic = known.topic or p.topic
        if p.images and p.images not in known.images:
            known.images.append(p.images)


def _accuracy(run: _Run) -> float:
    verdicts = [verdict for verdict in run.verdicts[RECORDED].values() if verdict != FAILED]
    return verdicts.count(RIGHT) / len(verdicts) if verdicts else 0.0


def _data(record: RunRecord) -> str:
    return str(sanitize.mapping(record.fingerprint).get("data"))


def _run(evidence: Evidence, predictions: Sequence[Prediction], material: Material) -> _Run:
    by_others = _was_read(evidence.record) and any(p.choices for p in predictions)
    readers = {name: READERS[name] for name in OTHERS} if by_others else {}
    verdicts: dict[str, dict[str, str]] = {name: {} for name in (RECORDED, *readers)}
    rows = {}
    for p in predictions:
        verdicts[RECORDED][p.sample_id] = _verdict(p, p.answer)
        others = []
        for name, reader in readers.items():
            reading = _read_by(reader, p)
            verdicts[name][p.sample_id] = _verdict(p, reading.answer)
            others.append([reading.answer, sanitize.text(reading.rule)])
        rows[p.sample_id] = _compact(_row(p, others))
    return _Run(
        record=evidence.record,
        verdicts=verdicts,
        rows=rows,
        misled=frozenset(material.reasoning_to_error(predictions)),
    )


def _was_read(record: RunRecord) -> bool:
    """Whether the run's answers were read out of texts, by our reader: one that was read by another
    rule, or chosen by likelihood, stays as it is."""
    settings = sanitize.mapping(record.settings)
    chosen = settings.get("mode") == "loglikelihood" or settings.get("conclude")
    read_again = sanitize.mapping(record.fingerprint).get("reader")
    return not chosen and not read_again


def _read_by(reader: Callable[[str, Sequence[str]], Reading], p: Prediction) -> Reading:
    if not p.choices or p.error is not None:
        return Reading(p.answer, p.rule)
    if not p.order:
        return reader(p.raw, p.choices)
    found = reader(p.raw, [p.choices[place] for place in p.order])
    answer = p.order[found.answer] if isinstance(found.answer, int) else None
    return Reading(answer, found.rule)


def _verdict(p: Prediction, answer: Target | None) -> str:
    if p.error is not None:
        return FAILED
    if answer is None:
        return UNREAD
    if not p.choices:
        return ANSWERED
    return RIGHT if answer == p.target else WRONG


def _row(p: Prediction, others: list[list[Any]]) -> list[Any]:
    """An answer; the script takes it apart by place."""
    raw, span = sanitize.marked_passage(p.raw, p.span, limit=RAW)
    return [
        raw,
        sanitize.passage(p.answer, limit=RAW) if isinstance(p.answer, str) else p.answer,
        sanitize.text(p.rule),
        sanitize.passage(p.prompt, limit=RAW),
        None if p.error is None else sanitize.text(p.error, limit=1000),
        _rounded(p.seconds),
        _rounded(p.preprocess_seconds),
        sanitize.whole(p.tokens),
        sanitize.whole(p.tokens_in),
        list(p.order),
        [_rounded(score) for score in p.scores],
        others,
        span,
        is_cut(p.finish),
    ]


def _rounded(value: object) -> float | None:
    """To four significant digits."""
    found = sanitize.number(value)
    return None if found is None else float(f"{found:.4g}")


def _is_shown(group: Group, sample_id: str, samples: Which) -> bool:
    if samples == "errors":
        verdicts = (run.verdicts[RECORDED].get(sample_id, ABSENT) for run in group.runs)
        return any(verdict in WRONG + UNREAD + FAILED for verdict in verdicts)
    return samples == "all"


# The index


def _index(
    material: Material,
    group: Group,
    ids: Sequence[str],
    shown: Sequence[str],
    images: Mapping[str, bytes],
) -> dict[str, Any]:
    """What is there at once. Lists are in the order of the questions."""
    samples = [group.samples[i] for i in ids]
    topics = {topic: n for n, topic in enumerate(sorted({s.topic for s in samples}))}
    numbers = {digest: n for n, digest in enumerate(images)}
    visible = set(shown)
    task = group.runs[0].record.task
    names = [
        sanitize.text(task.title or task.name, limit=80),
        sanitize.text(task.split, limit=60),
    ]
    keys = _numbered(map(_run_key, group.runs))
    return {
        "title": ", ".join([names[0], f"{names[1]} split"]),
        "choice": any(sample.choices for sample in samples),
        "ids": [sanitize.text(i) for i in ids],
        # None: this question cannot be looked at.
        "questions": [
            sanitize.text(s.question, limit=QUESTION) if i in visible else None
            for i, s in zip(ids, samples, strict=True)
        ],
        "topics": [sanitize.text(topic, limit=60) or "no topic" for topic in topics],
        "topic": [topics[sample.topic] for sample in samples],
        "cluster": _clusters(samples),
        "picture": [numbers[s.pictures[0]] if s.pictures else -1 for s in samples],
        "sizes": [len(data) for data in images.values()],
        "runs": [
            {
                "key": key,
                "title": runs.title(run.record),
                "role": runs.role(run.record),
                "verdicts": {
                    name: "".join(found.get(i, ABSENT) for i in ids)
                    for name, found in run.verdicts.items()
                },
                "cut": sanitize.whole(run.record.counts.cut),
                "misled": [place for place, i in enumerate(ids) if i in run.misled],
            }
            for key, run in zip(keys, group.runs, strict=True)
        ],
        "pairs": _pairs(material, group),
    }


def _group_key(group: Group) -> str:
    """What an address calls the questions: "scienceqa.test"."""
    _, task, _, split = runs.run_id(group.runs[0].record).split(":")
    return f"{task}.{split}"


def _run_key(run: _Run) -> str:
    """What an address calls a run: the model's name."""
    return runs.run_id(run.record).split(":")[2]


def _numbered(names: Iterable[str]) -> Iterator[str]:
    """The names, from the second on with a number where several are equal."""
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name}~{seen[name]}"


def _clusters(samples: Sequence[_Sample]) -> list[int] | None:
    """A number for each question, the same where they share their pictures; None where none do."""
    numbers: dict[object, int] = {}
    found = [
        numbers.setdefault(s.images[0] if s.images else place, len(numbers))
        for place, s in enumerate(samples)
    ]
    return found if 1 < len(numbers) < len(found) else None


def _pairs(material: Material, group: Group) -> list[list[int]]:
    """(before, after) of each distillation: by what it left on disk or, where nothing is left, the
    run of a distilled model and that of a student."""
    places = {runs.run_id(run.record): place for place, run in enumerate(group.runs)}

    def found(evidence: Iterable[Evidence]) -> list[int]:
        return [places[name] for each in evidence if (name := runs.run_id(each.record)) in places]

    pairs = [
        [before, after]
        for each in material.distillations
        for before in found(each.base)
        for after in found(each.training.runs if each.training else ())
        if before != after
    ]
    roles = [runs.role(run.record) for run in group.runs]
    return pairs or [
        [before, after]
        for before, role in enumerate(roles)
        for after, other in enumerate(roles)
        if (role, other) == ("student", "distilled")
    ]


# Blocks


def _packed(group: Group, shown: Sequence[str], images: Mapping[str, bytes]) -> Iterator[bytes]:
    """The questions with all their answers, block by block."""
    numbers = {digest: n for n, digest in enumerate(images)}
    parts = (
        ",".join(_entry(group, sample_id, numbers) for sample_id in shown[start : start + BLOCK])
        for start in range(0, len(shown), BLOCK)
    )
    with ThreadPoolExecutor() as pool:  # compressing lets other threads run
        yield from pool.map(_compressed, parts)


def _compressed(part: str) -> bytes:
    return gzip.compress(f"[{part}]".encode(), compresslevel=9, mtime=0)


def _entry(group: Group, sample_id: str, numbers: Mapping[str, int]) -> str:
    """A question with every run's answer to it, as JSON."""
    sample = group.samples[sample_id]
    choice = isinstance(sample.target, int)
    asked = {
        "question": sanitize.passage(sample.question, limit=RAW),
        "choices": [sanitize.passage(choice, limit=2_000) for choice in sample.choices],
        "target": sample.target if choice else sanitize.passage(sample.target, limit=RAW),
        "pictures": [numbers[digest] for digest in sample.pictures],
        "missing": len(sample.images[0]) - len(sample.pictures) if sample.images else 0,
    }
    answers = ",".join(run.rows.get(sample_id, "null") for run in group.runs)
    return f'{_compact(asked)[:-1]},"answers":[{answers}]}}'


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _joined(images: Sequence[bytes]) -> Iterator[bytes]:
    for start in range(0, len(images), BLOCK):
        yield b"".join(images[start : start + BLOCK])


def _blocks(name: str, parts: Iterable[bytes]) -> Iterator[Block]:
    for number, part in enumerate(parts):
        text = sanitize.json_text(base64.b64encode(part).decode())
        yield Block(f"{name}-{number}", Markup(text))  # noqa: S704  # made safe by json_text


# Pictures


def _pictures(group: Group, shown: Iterable[str], pictures: Pictures) -> dict[str, bytes]:
    """Digest -> thumbnail of each picture that is at hand, in the order of the questions."""
    wanted: dict[str, ImageRef] = {}
    for sample_id in shown:
        for digest in chain(*group.samples[sample_id].images):
            if digest and digest not in wanted and (image := pictures.find(digest)):
                wanted[digest] = image
    with ThreadPoolExecutor() as pool:  # decoding lets other threads run
        made = pool.map(_thumbnail, wanted.values())
        images = {digest: data for digest, data in zip(wanted, made, strict=True) if data}
    for sample_id in shown:
        sample = group.samples[sample_id]
        at_hand = ([digest for digest in each if digest in images] for each in sample.images)
        sample.pictures = max(at_hand, key=len, default=[])
    return images


def _thumbnail(image: ImageRef) -> bytes:
    """The picture as a small WebP, made anew from its pixels; empty where it cannot be decoded."""
    from PIL import Image

    try:
        picture = image.decode()
    except SampleError:
        return b""
    picture.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
    data = BytesIO()
    picture.save(data, "WEBP", quality=QUALITY, method=4)
    return data.getvalue()
