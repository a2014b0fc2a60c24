"""The blocks of a group: neighbouring questions with all their answers, compressed.

A block is one JSON object. Its texts stand in a list, each once, and everything else has their
numbers in it; answers that are equal in all but their costs are one:

    texts    every distinct text
    asked    [question, [option ...], target, [picture ...], pictures that are missing] of each
             question; a question's text is -1 where it is the one in the index, and a target the
             place of an option, or [[text, how many gave it] ...]
    first    the number of the first answer to each question
    answers  [raw, answer, rule, prompt, error, order, [[answer, rule] of other extractors ...],
             span, cut]; an answer is the place of an option, [text], or null
    given    of each run the number of its answer to each question, from the first one; -1: none
    costs    of each run {name: [of each question]}, without those that say nothing
"""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from markupsafe import Markup

from harness.core.finish import is_cut
from harness.core.types import Prediction, Target, references
from harness.extract import EXTRACTORS
from reports.inputs import sanitize
from reports.inputs.predictions import PredictionsFile
from reports.page.samples.groups import Group, GroupRun, stands_for
from reports.page.samples.verdicts import MAX_RAW, compact_json, extract_by

BLOCK = 100
"""Questions, or images, in one block."""
MAX_QUESTION = 1_000
"""Characters of a question that are there at once, and can be searched."""
LEVEL = 6
"""Of compression: the highest one makes a page 0.5% smaller, and takes twice the time."""


@dataclass(frozen=True, slots=True)
class Block:
    """A data element of the page."""

    id: str
    text: Markup
    """Base64, or JSON that was made safe by `sanitize.json_text`."""
    kind: str = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Questions with all their answers."""

    block: bytes
    questions: tuple[str, ...]
    """Their texts in the index."""

    def to_bytes(self) -> bytes:
        texts = compressed(self.questions)
        return len(texts).to_bytes(8, "little") + texts + self.block

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        end = 8 + int.from_bytes(data[:8], "little")
        return cls(block=data[end:], questions=tuple(json.loads(gzip.decompress(data[8:end]))))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """The answers of a run in a block."""

    source: PredictionsFile | Callable[[], Sequence[Prediction]]
    """A file, or what gives all answers in memory."""
    places: tuple[int | None, ...]
    """Of its answers to the questions; None: it was not asked."""
    spans: tuple[tuple[int, int] | None, ...]
    """Where their lines are in the file."""
    extractors: tuple[str, ...]
    scores: tuple[tuple[float | None, ...], ...]
    """Of each metric that is listed, what it gave the answers."""

    def read(self, ids: Sequence[str], known: dict[bytes, Prediction]) -> list[Prediction | None]:
        """The answers to these questions.

        Args:
            known: see `PredictionsFile.lines`.

        Raises:
            HarnessError: the file is no longer the one that was read.
        """
        if not isinstance(self.source, PredictionsFile):
            found = self.source()
            return [None if place is None else found[place] for place in self.places]
        rows = list(self.source.lines(self.spans, known))
        if any(p and not stands_for(i, p.sample_id) for p, i in zip(rows, ids, strict=True)):
            raise self.source.changed()
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlan:
    """What a block is made of: everything but the texts."""

    ids: tuple[str, ...]
    asked: tuple[int, ...]
    """The run that options and target of each question are read from."""
    worded: tuple[int | None, ...]
    """The run that its text is read from."""
    pictures: tuple[tuple[int, ...], ...]
    missing: tuple[int, ...]
    runs: tuple[RunPlan, ...]

    @property
    def is_in_files(self) -> bool:
        """Whether another process can read it."""
        return all(isinstance(run.source, PredictionsFile) for run in self.runs)

    @property
    def spans(self) -> Iterator[tuple[int, int]]:
        """Of all lines of files that it is made from."""
        return (span for run in self.runs for span in run.spans if span is not None)


def plans(group: Group, shown: Sequence[str], images: Mapping[str, bytes]) -> Iterator[BlockPlan]:
    """The blocks of the questions that are shown."""
    pictures = {digest: n for n, digest in enumerate(images)}
    numbers = {run: n for n, run in enumerate(group.runs)}
    for start in range(0, len(shown), BLOCK):
        ids = tuple(shown[start : start + BLOCK])
        samples = [group.samples[sample_id] for sample_id in ids]
        yield BlockPlan(
            ids=ids,
            asked=tuple(numbers[sample.asked] for sample in samples),
            worded=tuple(numbers[s.worded] if s.worded else None for s in samples),
            pictures=tuple(tuple(pictures[digest] for digest in s.pictures) for s in samples),
            missing=tuple(len(s.images[0]) - len(s.pictures) if s.images else 0 for s in samples),
            runs=tuple(_run_plan(run, ids) for run in group.runs),
        )


def _run_plan(run: GroupRun, ids: Sequence[str]) -> RunPlan:
    places = tuple(run.places.get(sample_id) for sample_id in ids)
    columns, file = run.columns, run.source.file
    listed = [columns.scores[metric.name] for metric in run.listed]
    return RunPlan(
        source=run.source.predictions if file is None else file,
        places=places,
        spans=() if file is None else tuple(p if p is None else columns.span(p) for p in places),
        extractors=run.extractors,
        scores=tuple(
            tuple(None if place is None else column[place] for place in places) for column in listed
        ),
    )


def pack(plan: BlockPlan) -> Packed:
    """Read the answers of a block and compress them.

    Raises:
        HarnessError: a file of answers is no longer the one that was read.
    """
    known: dict[bytes, Prediction] = {}
    rows = [run.read(plan.ids, known) for run in plan.runs]
    texts, answers = _Numbers(), _Answers()
    asked, first, index = [], [], []
    given: list[list[int]] = [[] for _ in rows]
    for n in range(len(plan.ids)):
        one = rows[plan.asked[n]][n]
        assert one is not None  # it was asked
        by = plan.worded[n]
        question = "" if by is None or (found := rows[by][n]) is None else found.question
        index.append(sanitize.text(question, limit=MAX_QUESTION))
        is_short = sanitize.passage(question, limit=MAX_RAW) == index[-1]
        asked.append(
            [
                -1 if is_short else texts.passage(question),
                [texts.passage(choice, limit=2_000) for choice in one.choices],
                one.target if isinstance(one.target, int) else _accepted(one.target, texts),
                plan.pictures[n],
                plan.missing[n],
            ]
        )
        first.append(len(answers.rows))
        for run, own, numbers in zip(plan.runs, rows, given, strict=True):
            p = own[n]
            numbers.append(-1 if p is None else answers.number(p, run.extractors, texts))
        answers.next_question()
    made = {
        "texts": texts.all,
        "asked": asked,
        "first": first,
        "answers": answers.rows,
        "given": given,
        "costs": [_costs(run, own) for run, own in zip(plan.runs, rows, strict=True)],
    }
    return Packed(block=compressed(made), questions=tuple(index))


def compressed(value: object) -> bytes:
    """JSON in gzip."""
    return gzip.compress(compact_json(value).encode(), compresslevel=LEVEL, mtime=0)


class _Numbers:
    """The distinct texts of a block by their numbers."""

    def __init__(self) -> None:
        self._shown: dict[str, int] = {}
        self._given: dict[object, Any] = {}
        """A text as it was recorded, and how it is shown -> its number: many are recorded often."""

    @property
    def all(self) -> list[str]:
        return list(self._shown)

    def passage(self, text: str, *, limit: int = MAX_RAW) -> int:
        key = (text, limit)
        if key not in self._given:
            self._given[key] = self._number(sanitize.passage(text, limit=limit))
        return self._given[key]  # type: ignore[no-any-return]  # an int under such a key

    def line(self, text: str, *, limit: int = 200) -> int:
        """The number of a text without line breaks."""
        key = (text, -limit)
        if key not in self._given:
            self._given[key] = self._number(sanitize.text(text, limit=limit))
        return self._given[key]  # type: ignore[no-any-return]  # as above

    def marked(self, text: str, span: tuple[int, int] | None) -> tuple[int, tuple[int, int] | None]:
        """The number of a raw text, and where the words of the answer stand in it."""
        if span is None:
            return self.passage(text), None
        key = (text, span)
        if key not in self._given:
            shown, place = sanitize.marked_passage(text, span, limit=MAX_RAW)
            self._given[key] = self._number(shown), place
        return self._given[key]  # type: ignore[no-any-return]  # a pair under such a key

    def _number(self, shown: str) -> int:
        return self._shown.setdefault(shown, len(self._shown))


class _Answers:
    """The distinct answers of a block, question by question."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self._first = 0
        self._known: dict[tuple[object, ...], int] = {}

    def next_question(self) -> None:
        self._first = len(self.rows)
        self._known.clear()

    def number(self, p: Prediction, extractors: Sequence[str], texts: _Numbers) -> int:
        """The number of an answer among those to this question."""
        cut = is_cut(p.finish)
        key = (p.raw, p.answer, p.rule, p.prompt, p.error, p.order, p.span, cut, extractors)
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = len(self.rows) - self._first
            raw, span = texts.marked(p.raw, p.span)
            others = [extract_by(EXTRACTORS[name], p) for name in extractors]
            self.rows.append(
                [
                    raw,
                    [texts.passage(p.answer)] if isinstance(p.answer, str) else p.answer,
                    texts.line(p.rule),
                    texts.passage(p.prompt),
                    None if p.error is None else texts.line(p.error, limit=1000),
                    p.order,
                    [[found.answer, texts.line(found.rule)] for found in others],
                    span,
                    int(cut),
                ]
            )
        return number


def _accepted(target: Target, texts: _Numbers) -> list[list[int]]:
    """(accepted answer, how many gave it), the most frequent first, then as the data have them."""
    counts = Counter(reference.text for reference in references(target))
    return [[texts.passage(text), n] for text, n in counts.most_common(50)]


def _costs(run: RunPlan, rows: Sequence[Prediction | None]) -> dict[str, list[Any]]:
    """What the answers of a run took, and what other metrics gave them."""
    found: dict[str, list[Any]] = {
        "seconds": [p and _rounded(p.seconds) for p in rows],
        "preparing": [p and _rounded(p.preprocess_seconds) for p in rows],
        "tokens": [p and sanitize.whole(p.tokens) for p in rows],
        "tokensIn": [p and sanitize.whole(p.tokens_in) for p in rows],
        "likelihoods": [
            [_rounded(s) for s in p.log_likelihoods] if p and p.log_likelihoods else None
            for p in rows
        ],
        "votes": [_votes(p) if p and p.votes else None for p in rows],
        "listed": [[_rounded(score) for score in each] for each in zip(*run.scores, strict=True)],
    }
    return {
        name: column for name, column in found.items() if any(value is not None for value in column)
    }


def _votes(prediction: Prediction) -> list[Any]:
    """(answer, how many gave it) of several sampled answers, the most frequent first: the place of
    an option, or a text; "": unparsed."""
    counts = Counter(vote.answer if vote.answer is not None else "" for vote in prediction.votes)
    return [
        [sanitize.text(answer, limit=80) if isinstance(answer, str) else answer, number]
        for answer, number in counts.most_common(20)
    ]


def _rounded(value: object) -> float | None:
    """To four significant digits."""
    found = sanitize.number(value)
    return None if found is None else float(f"{found:.4g}")


def packed_images(images: Sequence[bytes]) -> Iterator[bytes]:
    """The images of one block after another."""
    for start in range(0, len(images), BLOCK):
        yield b"".join(images[start : start + BLOCK])


def data_elements(name: str, parts: Iterable[bytes]) -> Iterator[Block]:
    """The elements NAME-0, NAME-1 ... of the page."""
    for number, part in enumerate(parts):
        yield Block(f"{name}-{number}", Markup(base64.b64encode(part).decode()))  # noqa: S704  # base64
