"""Rationales that were written elsewhere: a CSV or JSONL file in place of a teacher.

A row has a `rationale`, the text with its tags, and says whose it is: by `id`, or by `question`
where only one of the selected questions reads so (of ScienceQA's, many read alike). In place of
`rationale` it may be `raw`, as in the files of another distillation; `teacher` says who wrote it.
Every row is checked; those that match no question go to rejected.jsonl with the reason.
"""

from __future__ import annotations

import csv
import io
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from distill.layout import Workspace
from distill.options import RationaleOptions, check_filter
from distill.questions import Questions
from distill.rationales.attempts import Work
from distill.rationales.fingerprint import Fingerprint
from distill.rationales.store import Attempt
from harness.core.errors import DataError, HarnessError
from harness.core.types import Sample
from harness.data.json_rows import jsonl_objects
from harness.data.pictures import found
from harness.data.text import decode_text, open_data
from harness.data.white_space import one_line
from harness.run.folder import RunFolder
from harness.run.task_data import Data

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """One row of the file, its texts checked to be texts."""

    where: str
    """What an error calls it: "rationales.csv, line 7"."""
    id: str | None
    question: str | None
    rationale: str
    teacher: str | None = None
    """Who wrote it; None: the file does not say."""


def import_rationales(
    path: Path, workspace: Workspace, questions: Questions, *, options: RationaleOptions
) -> dict[str, Any]:
    """Import the rationales of `path`, as if a teacher had just written them; returns the record.

    Several rows of one question are several attempts, of which the best is kept.

    Raises:
        DataError: the file, or one of its rows, is not what it should be.
        HarnessError: what is there was made with something else.
    """
    data = questions.data
    check_filter(options.keep, data.task)
    rows = list(read_rows(path))
    if not rows:
        raise DataError(f"{path} holds no rows.")
    content = f"sha256:{sha256(path.read_bytes()).hexdigest()}"
    if options.scores_by_model:
        raise HarnessError(
            "--choose gain needs a teacher whose weights are here; these rationales are from a "
            "file.",
            remedy="--choose best",
        )
    work = Work(workspace, questions, options)
    known = Fingerprint({**questions.fingerprint(), "imported": content}, {})
    with RunFolder(workspace.folder).locked():
        work.open()
        work.compare(known)
        there = {key: {a.attempt for a in found} for key, found in work.attempts.items()}
        texts, work.unmatched = _matched(rows, work.selected, data.samples.samples)
        new = [
            attempt
            for sample in work.selected
            for attempt in _attempts(path, content, texts[sample.id], sample, data)
            if attempt.attempt not in there.get(sample.id, ()) and work.add(attempt)
        ]
        work.begin(known, about=[{"name": f"imported from {path.name}"}])
        work.append(new)
        work.require_any()
        if work.unmatched:
            log.warning(
                "%d of %d rows fit none of the selected questions.", len(work.unmatched), len(rows)
            )
        return work.finish()


def read_rows(path: Path) -> Iterator[ImportedRow]:
    """The rows of a CSV file with a column `rationale` or `raw`, or of a JSONL file with such a
    field.

    Raises:
        DataError: names the line and the field.
    """
    if path.suffix.lower() not in _READERS:
        raise DataError(
            f"{path} is not a file of rationales.", known=f"The kinds are {', '.join(_READERS)}."
        )
    for where, fields in _READERS[path.suffix.lower()](path):
        yield _row(where, fields)


def _csv(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with open_data(path) as file:
        text = decode_text(file.read(), where=path.name)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    header: list[str] | None = None
    try:
        for cells in reader:
            where, line = f"{path.name}, line {line}", reader.line_num + 1
            if header is None:
                header = cells
            elif cells and len(cells) != len(header):
                raise DataError(f"{where}: {len(cells)} cells, where the header has {len(header)}.")
            elif cells:
                yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{path.name}, line {line}: {error}.") from error


_READERS = {".csv": _csv, ".jsonl": jsonl_objects}


def _row(where: str, fields: Mapping[str, Any]) -> ImportedRow:
    number = fields.get("id")
    if isinstance(number, int) and not isinstance(number, bool):
        fields = {**fields, "id": str(number)}
    rationale = _text(where, fields, "rationale" if "rationale" in fields else "raw")
    if rationale is None:
        raise DataError(
            f"{where}, field 'rationale': missing.",
            known=f"The fields are {', '.join(map(ascii, fields))[:200]}.",
        )
    row = ImportedRow(
        where,
        _text(where, fields, "id"),
        _text(where, fields, "question"),
        rationale,
        _text(where, fields, "teacher"),
    )
    if not row.id and not row.question:
        raise DataError(f"{where}: has neither an id nor a question to find its sample by.")
    return row


def _text(where: str, fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value
    raise DataError(f"{where}, field {name!r}: must be text, found {found(value)}.")


def _matched(
    rows: Sequence[ImportedRow], selected: Sequence[Sample], samples: Sequence[Sample]
) -> tuple[Mapping[str, list[ImportedRow]], list[Mapping[str, Any]]]:
    """Sample id -> its rows; and the lines of rejected.jsonl for rows that match no sample."""
    known = {sample.id for sample in samples}
    wanted = {sample.id for sample in selected}
    by_question: dict[str, list[str]] = defaultdict(list)
    for sample in selected:
        by_question[sample.question].append(sample.id)
    mine: dict[str, list[ImportedRow]] = defaultdict(list)
    unmatched: list[Mapping[str, Any]] = []
    for row in rows:
        named = by_question.get(one_line(row.question or ""), [])
        if row.id:
            reason = "not among the selected questions" if row.id in known else "no such question"
            match = row.id if row.id in wanted else None
        elif len(named) > 1:
            reason, match = f"the question fits {len(named)} samples: an id is needed", None
        else:
            reason, match = "no such question", next(iter(named), None)
        if match is None:
            unmatched.append(
                {"where": row.where, "id": row.id, "raw": row.rationale, "reasons": (reason,)}
            )
        else:
            mine[match].append(row)
    return mine, unmatched


def _attempts(
    path: Path, content: str, rows: Sequence[ImportedRow], sample: Sample, data: Data
) -> Iterator[Attempt]:
    for number, row in enumerate(rows, start=1):
        yield Attempt(
            id=sample.id,
            attempt=number,
            hinted=False,
            images=data.digests[sample.id],
            teacher=row.teacher or f"imported from {path.name}",
            teacher_fingerprint=content,
            prompt_version="",
            decoding={},
            prompt="",
            raw=row.rationale,
        )
