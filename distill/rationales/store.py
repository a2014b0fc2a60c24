"""The rationales on disk. This module alone knows the files of a distillation's first stage.

    attempts.jsonl     every text that a teacher wrote: appended and fsynced, never changed
    gains.jsonl        where a model has scored the attempts: see distill.rationales.gains
    rationales.jsonl   the kept ones, one a sample
    rejected.jsonl     the others, with the reasons
    rationales.json    what they were made with, and how many there are

rationales.jsonl and rejected.jsonl follow from the first two, so another filter asks no teacher
again. They grow as it does, and are rewritten where a crash, or another filter, has left them out
of date.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from distill.layout import ATTEMPTS, GAINS, KEPT, RATIONALES, REJECTED
from harness.core.errors import DataError
from harness.core.files import jsonl
from harness.core.files.json_files import read_json, write_json
from harness.core.files.set_aside import set_aside

FORMAT = 1
Key = tuple[str, str, bool, int]
"""Of an attempt: sample id, teacher, whether it was hinted, number."""
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One line of attempts.jsonl: a text that a teacher wrote for a sample, and how."""

    id: str
    """Of the sample."""
    attempt: int
    """From 1. The first one is greedy."""
    hinted: bool
    """Asked again, with the answer as a hint, after every other attempt was rejected."""
    images: tuple[str, ...]
    """sha256 of each picture's encoded bytes, in hex."""
    teacher: str
    teacher_fingerprint: str
    """Of the weights, or of the file that it was imported from."""
    prompt_version: str
    """"" for imported ones."""
    decoding: Mapping[str, Any]
    prompt: str
    """The text as it was sent to the teacher's tokenizer."""
    raw: str
    tokens: int | None = None
    seconds: float | None = None
    truncated: int = 0
    """Tokens of the context text that were left out of the prompt."""

    @property
    def key(self) -> Key:
        return self.id, self.teacher, self.hinted, self.attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """One line of gains.jsonl: log-likelihoods of the gold answer, in nats."""

    id: str
    """Of the sample; with the next three the key of an attempt."""
    teacher: str
    hinted: bool
    attempt: int
    scorer: str
    """The model that they are by: its name and the hash of its weights."""
    with_rationale: float | None
    """None: the attempt does not fit into its context."""
    without: float | None

    @property
    def key(self) -> Key:
        return self.id, self.teacher, self.hinted, self.attempt

    @property
    def gain(self) -> float | None:
        """How much likelier the rationale makes the answer; None: not known."""
        if self.with_rationale is None or self.without is None:
            return None
        return self.with_rationale - self.without


class Store:
    """The folder of a distillation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def attempts_path(self) -> Path:
        return self.folder / ATTEMPTS

    @property
    def gains_path(self) -> Path:
        return self.folder / GAINS

    @property
    def kept_path(self) -> Path:
        return self.folder / KEPT

    @property
    def rejected_path(self) -> Path:
        return self.folder / REJECTED

    @property
    def record_path(self) -> Path:
        return self.folder / RATIONALES

    def read_attempts(self) -> list[Attempt]:
        """Every attempt, in the order of the file; raises DataError."""
        return list(jsonl.read_jsonl(self.attempts_path, _attempt, kind="an attempt"))

    def append_attempts(self, attempts: Sequence[Attempt]) -> None:
        """Add attempts to those that are there."""
        jsonl.append_lines(self.attempts_path, map(_line, attempts))

    def read_gains(self) -> list[Gain]:
        """The scores of attempts; raises DataError."""
        known = {each.name for each in fields(Gain)}
        rows = jsonl.read_objects(self.gains_path, kind="a gain")
        return [Gain(**{key: value for key, value in row.items() if key in known}) for row in rows]

    def write_gains(self, gains: Sequence[Gain], *, replace: bool) -> None:
        """Add scores to those that are there, or put them in their place."""
        write = jsonl.replace_lines if replace else jsonl.append_lines
        write(self.gains_path, (jsonl.encode_line(asdict(each)) for each in gains))

    def append_views(self, kept: Rows, rejected: Rows) -> None:
        """Add lines to rationales.jsonl and rejected.jsonl."""
        for path, rows in ((self.kept_path, kept), (self.rejected_path, rejected)):
            jsonl.append_lines(path, map(jsonl.encode_line, rows))

    def replace_attempts(self, attempts: Sequence[Attempt]) -> None:
        """Make these the attempts, at once."""
        jsonl.replace_lines(self.attempts_path, map(_line, attempts))

    def replace_views(self, kept: Rows, rejected: Rows) -> None:
        """Make these the lines of rationales.jsonl and rejected.jsonl."""
        for path, rows in ((self.kept_path, kept), (self.rejected_path, rejected)):
            jsonl.replace_lines(path, map(jsonl.encode_line, rows))

    def read_kept(self) -> list[dict[str, Any]]:
        """The lines of rationales.jsonl; raises DataError."""
        return jsonl.read_objects(self.kept_path, kind="a rationale")

    def read_rejected(self) -> list[dict[str, Any]]:
        """The lines of rejected.jsonl; raises DataError."""
        return jsonl.read_objects(self.rejected_path, kind="a rejected rationale")

    def read_record(self) -> dict[str, Any] | None:
        """rationales.json; None where there is none. Raises DataError."""
        try:
            record = read_json(
                self.record_path,
                remedy="Move the folder away, or run the same command with --fresh.",
            )
        except FileNotFoundError:
            return None
        if not isinstance(record, dict) or not isinstance(record.get("fingerprint"), dict):
            raise DataError(f"{self.record_path} is not a record of rationales.")
        if record.get("format", 0) > FORMAT:
            raise DataError(f"{self.record_path} was written by a newer harness.")
        return record

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Replace rationales.json at once."""
        write_json(self.record_path, {"format": FORMAT, **record})

    @property
    def holds_anything(self) -> bool:
        """Whether there are rationales, or something of them."""
        return any(path.exists() for path in self._parts)

    def move_aside(self) -> Path | None:
        """Move what is there to a folder next to it; returns that folder."""
        return set_aside(self._parts, self.folder / "rationales")

    @property
    def _parts(self) -> tuple[Path, ...]:
        return (
            *(self.record_path, self.attempts_path, self.gains_path),
            *(self.kept_path, self.rejected_path),
        )


def _line(attempt: Attempt) -> bytes:
    return jsonl.encode_line(asdict(attempt))


def _attempt(row: Any) -> Attempt:
    known = {f.name for f in fields(Attempt)}
    values = {key: value for key, value in row.items() if key in known}
    return Attempt(**{**values, "images": tuple(values["images"])})
