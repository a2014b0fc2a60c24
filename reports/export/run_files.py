"""Shared by the exports of runs: the files of a folder, and what a run is described by."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from harness.core.json_values import finite
from harness.core.types import Prediction
from harness.metrics.registry import CONTEXT
from harness.run.records import RunRecord
from harness.run.scores import scored_predictions
from reports.inputs import runs, sanitize
from reports.inputs.material import RunData


@dataclass(frozen=True, slots=True)
class File:
    """One file of an export."""

    path: str
    """Within the folder, with forward slashes; made of safe names only."""
    pieces: Callable[[], Iterable[bytes]]
    """Makes the content, piece by piece: answers may be many."""


def text_file(path: str, text: str) -> File:
    """A file with this text."""
    return File(path, lambda: [_bytes(text)])


def json_file(path: str, make: Callable[[], Mapping[str, Any]]) -> File:
    """A file with one JSON document; a number that is not finite is null."""

    def pieces() -> Iterator[bytes]:
        document = finite(make())
        yield _bytes(json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2) + "\n")

    return File(path, pieces)


def jsonl_file(path: str, rows: Callable[[], Iterable[Mapping[str, Any]]]) -> File:
    """A file with one JSON object a line."""

    def pieces() -> Iterator[bytes]:
        for row in rows():
            yield _bytes(json.dumps(finite(row), ensure_ascii=False, allow_nan=False) + "\n")

    return File(path, pieces)


def _bytes(text: str) -> bytes:
    """UTF-8; half of a surrogate pair, which it cannot hold, becomes JSON's own escape."""
    return text.encode("utf-8", "backslashreplace")


def answered(run: RunData) -> list[Prediction]:
    """The answers that figures are computed from, with their scores: those that failed are in no
    figure."""
    return [p for p in scored_predictions(run.record, run.predictions()) if p.error is None]


def scored_by(run: RunRecord) -> list[str]:
    """The metrics that give each answer a score."""
    return [
        name
        for name, about in run.metric_info.items()
        if about.scope == "sample" and name not in CONTEXT
    ]


def context(run: RunRecord, metric: str) -> dict[str, float | None]:
    """Chance and the share of unparsed answers, beside a share of right answers over all."""
    if "/" in metric or run.about(metric).interval != "wilson":
        return {}
    return {name: runs.figure(run, name).value for name in sorted(CONTEXT)}


def started(run: RunRecord) -> datetime | None:
    """When the first process began to work on the run, to the second; None: not known."""
    for session in sanitize.sequence(run.sessions):
        said = sanitize.mapping(session).get("started")
        try:
            return datetime.strptime(str(said), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            return None
    return None
