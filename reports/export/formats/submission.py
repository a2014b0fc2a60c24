"""Answers as the evaluation servers of the data sets take them: a file for each run.

What a file holds is said by the task (`harness.core.types.Submission`). An answer that is missing
is empty, or no option: the server counts it as wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.core.files.paths import safe_name
from harness.core.types import Prediction, Submission
from reports.export.run_files import File, json_file
from reports.export.spreadsheet import spreadsheet
from reports.inputs import sanitize
from reports.inputs.material import RunData


def unfit(run: RunData, dataset: str | None) -> str:
    """Why the run cannot be written; empty: it can. `dataset` is of no account."""
    del dataset
    task, counts = run.known_task, run.record.counts
    if task is None:
        return "its task is a file of yours; name it with --task ./mine.py"
    if task.submission is None:
        return "no evaluation server takes its answers"
    available, done = sanitize.whole(counts.available) or 0, sanitize.whole(counts.done) or 0
    if done < available:
        return (
            f"it has {done:,} of {available:,} answers, and the server wants all; re-run the same "
            "eval without --limit"
        )
    return ""


def note(run: RunData) -> str:
    """How many answers are missing, which the server does not tell."""
    answers = run.predictions()
    missing = sum(p.answer is None for p in answers)
    if not missing:
        return ""
    return (
        f"{run.record.model.name} on {run.record.task.name}: {missing:,} of {len(answers):,} "
        "answers are unparsed or failed; the server counts them as wrong."
    )


def write(evidence: Sequence[RunData], dataset: str | None) -> Iterator[File]:
    """TASK-SPLIT-MODEL.json, or .xlsx, for each run that has answers."""
    del dataset
    for run in evidence:
        task, record = run.known_task, run.record
        answers = run.predictions()
        if task is None or task.submission is None or not answers:
            continue
        stem = safe_name(f"{record.task.name}-{record.task.split}-{record.model.name}")
        yield _file(stem, task.submission, answers)


def _file(stem: str, submission: Submission, answers: Sequence[Prediction]) -> File:
    if submission.form == "xlsx":
        return File(f"{stem}.xlsx", lambda: [_sheet(submission, answers)])
    return json_file(f"{stem}.json", lambda: _document(submission, answers))


def _sheet(submission: Submission, answers: Sequence[Prediction]) -> bytes:
    rows = ([make(p) for make in submission.fields.values()] for p in answers)
    return spreadsheet(list(submission.fields), rows)


def _document(submission: Submission, answers: Sequence[Prediction]) -> Any:
    rows: Iterator[Mapping[str, str | int]] = (
        {name: make(p) for name, make in submission.fields.items()} for p in answers
    )
    if submission.form == "list":
        return list(rows)
    if submission.form == "by id":
        return {p.sample_id: row for p, row in zip(answers, rows, strict=True)}
    return {
        p.sample_id: value for p, row in zip(answers, rows, strict=True) for value in row.values()
    }
