"""The rationales on disk. This module alone knows the files of a distillation's first stage.

    attempts.jsonl     every text that a teacher wrote: appended and fsynced, never changed
    rationales.jsonl   the kept ones, one a sample
    rejected.jsonl     the others, with the reasons
    rationales.json    what they were made with, and how many there are

The middle two follow from the first, so another filter asks no teacher again. They grow as it does,
and are written anew where a crash, or another filter, has left them behind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from distill.layout import ATTEMPTS, KEPT, RATIONALES, REJECTED
from harness.core.errors import DataError
from harness.core.files.atomic import write_atomically
from harness.core.files.regular import MAX_RECORD, MAX_ROWS, read_regular
from harness.core.files.set_aside import set_aside
from harness.core.json_values import finite

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One line of attempts.jsonl: a text that a teacher wrote for a sample, and how."""

    id: str
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
    def key(self) -> tuple[str, bool, int]:
        return self.id, self.hinted, self.attempt


class Store:
    """The folder of a distillation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def attempts_path(self) -> Path:
        return self.folder / ATTEMPTS

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
        return [
            _attempt(row, where=f"{self.attempts_path}, line {number}")
            for number, row in enumerate(read_lines(self.attempts_path), start=1)
        ]

    def append_attempts(self, attempts: Sequence[Attempt]) -> None:
        append_lines(self.attempts_path, [asdict(attempt) for attempt in attempts])

    def read_kept(self) -> list[dict[str, Any]]:
        """The lines of rationales.jsonl; raises DataError."""
        return read_lines(self.kept_path)

    def read_record(self) -> dict[str, Any] | None:
        """rationales.json; None where there is none. Raises DataError."""
        try:
            data = read_regular(self.record_path, limit=MAX_RECORD, within=self.folder)
            record = json.loads(data)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataError(f"{self.record_path} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise DataError(
                f"{self.record_path} is not JSON: {error}.",
                remedy="Move the folder away, or run the same command with --fresh.",
            ) from error
        if not isinstance(record, dict) or not isinstance(record.get("fingerprint"), dict):
            raise DataError(f"{self.record_path} is not a record of rationales.")
        if record.get("format", 0) > FORMAT:
            raise DataError(f"{self.record_path} was written by a newer harness.")
        return record

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Replace rationales.json at once."""
        text = json.dumps(finite({"format": FORMAT, **record}), ensure_ascii=False, indent=1)
        write_atomically(self.record_path, f"{text}\n".encode())

    @property
    def holds_anything(self) -> bool:
        """Whether there are rationales, or something of them."""
        return any(path.exists() for path in self._parts)

    def move_aside(self) -> Path | None:
        """Put what is there into a folder beside, so that a fresh one can begin; returns it."""
        return set_aside(self._parts, self.folder / "rationales")

    @property
    def _parts(self) -> tuple[Path, ...]:
        return self.record_path, self.attempts_path, self.kept_path, self.rejected_path


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file of ours, without a last line that a crash has cut.

    Raises:
        DataError: a line is not a JSON object.
    """
    try:
        data = read_regular(path, limit=MAX_ROWS, within=path.parent)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    rows = []
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise _broken(path, number, str(error)) from error
        if not isinstance(row, dict):
            raise _broken(path, number, "not an object")
        rows.append(row)
    return rows


def append_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append and fsync; a last line that was cut is removed first.

    Raises:
        OSError: it names the file, which that of a full disk does not by itself.
    """
    try:
        with open(path, "a+b") as file:
            file.truncate(_whole(file.seek(0, os.SEEK_END), path))
            file.write(_lines(rows))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(path)
        raise


def replace_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Make these the file's lines, at once; a file that has them already is left alone."""
    data = _lines(rows)
    if not path.exists() or path.read_bytes() != data:
        write_atomically(path, data)


def _whole(size: int, path: Path) -> int:
    """How many bytes of the file are whole lines."""
    with open(path, "rb") as file:
        while size:
            start = max(0, size - 2**16)
            file.seek(start)
            end = file.read(size - start).rfind(b"\n")
            if end >= 0:
                return start + end + 1
            size = start
    return 0


def _lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    texts = [json.dumps(finite(row), ensure_ascii=False, separators=(",", ":")) for row in rows]
    return b"".join(text.encode("utf-8", "backslashreplace") + b"\n" for text in texts)


def _attempt(row: Mapping[str, Any], *, where: str) -> Attempt:
    known = {f.name for f in fields(Attempt)}
    try:
        values = {key: value for key, value in row.items() if key in known}
        return Attempt(**{**values, "images": tuple(values["images"])})
    except (KeyError, TypeError) as error:
        raise DataError(f"{where} is not an attempt: {error}.") from error


def _broken(path: Path, number: int, problem: str) -> DataError:
    return DataError(
        f"{path}, line {number} cannot be read: {problem}.",
        remedy="Remove that line and run the same command again, or use --fresh.",
    )
