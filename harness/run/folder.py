"""The folder of one run: run.json says what was run and what came out, predictions.jsonl has each
answer.

Predictions are appended and fsynced; run.json is replaced at once; a lock that ends with its
process keeps a second writer out.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self

from harness.core.errors import DataError, Exit, HarnessError
from harness.core.files.atomic import named, sweep, write_atomically
from harness.core.files.layout import BEYOND_LIMIT, PREDICTIONS, RUN_RECORD, SHARDS
from harness.core.files.paths import safe_name
from harness.core.files.regular import MAX_RECORD, MAX_ROWS, open_regular, read_lines, read_regular
from harness.core.files.set_aside import set_aside
from harness.core.json_types import check_depth
from harness.core.json_values import finite, parse_json
from harness.core.types import Prediction
from harness.run.record_fields import DEPTH
from harness.run.records import RunRecord, check_record, prediction_from_json


class InUse(HarnessError):  # noqa: N818  # that is what it is, and no mistake
    """Another process is writing."""


class Moved(HarnessError):  # noqa: N818  # as above
    """predictions.jsonl is not the file any more that was read and written until now."""


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        self._state: _State | None = None
        """Of predictions.jsonl when it was last read or written here; None: it was not."""

    @classmethod
    def of(cls, runs: Path, *, task: str, model: str, split: str) -> Self:
        """The folder of a run under `runs`; where an older version made the run, the one that it
        chose."""
        path = runs / safe_name(task) / safe_name(model) / safe_name(split)
        older = cls(runs / _older_name(task) / _older_name(model) / _older_name(split))
        if older.path != path and not path.exists() and older._is_of(task, model, split):
            return older
        return cls(path)

    def _is_of(self, task: str, model: str, split: str) -> bool:
        """Whether there is a run, and it is this one."""
        with contextlib.suppress(HarnessError):
            record = self.read_record()
            named = record and (record.task.name, record.model.name, record.task.split)
            return named == (task, model, split)
        return False

    @property
    def record_path(self) -> Path:
        return self.path / RUN_RECORD

    @property
    def predictions_path(self) -> Path:
        return self.path / PREDICTIONS

    @property
    def beyond_path(self) -> Path:
        return self.path / BEYOND_LIMIT

    @property
    def shards_path(self) -> Path:
        return self.path / SHARDS

    @property
    def holds_anything(self) -> bool:
        """Whether there is a run, or something of one."""
        return any(path.exists() for path in self._parts)

    @property
    def _parts(self) -> tuple[Path, ...]:
        return self.predictions_path, self.record_path, self.beyond_path, self.shards_path

    @contextlib.contextmanager
    def locked(self, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
        """Hold the run for writing. The kernel lets the lock go when the process ends, however it
        ends; a second writer is refused.

        Args:
            shared: hold it together with others that say so too.
            wait: for those who have it now, in place of being refused.

        Raises:
            InUse: another process has it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = open(self.path / ".lock", "a+b")  # noqa: SIM115  # the next statement is `with`
        except OSError as error:
            raise HarnessError(
                f"{self.path} cannot be written: {error.strerror}.",
                remedy="Choose another folder with --runs.",
            ) from error
        with lock:
            try:
                how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
                fcntl.flock(lock, how if wait else how | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InUse(
                    f"Another process is writing to {self.path}.",
                    remedy="Wait for it, or choose another folder with --runs.",
                ) from None
            _held.add(lock)
            sweep(self.path, (RUN_RECORD, PREDICTIONS, BEYOND_LIMIT))
            try:
                yield
            finally:
                _held.discard(lock)
                self._close()

    def _close(self) -> None:
        if self._file is not None:
            with named(self.predictions_path):
                self._file.close()
            self._file = None

    def read_record(self) -> RunRecord | None:
        """run.json, or None where there is none."""
        try:
            data = read_regular(self.record_path, limit=MAX_RECORD, within=self.path)
            text = data.decode()
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise DataError(f"{self.record_path} is not UTF-8: {error}.") from error
        except OSError as error:
            raise DataError(f"{self.record_path} cannot be read: {error.strerror}.") from error
        try:
            data = parse_json(text)
        except ValueError as error:
            raise DataError(
                f"{self.record_path} is not JSON: {error}.",
                remedy="Move its folder away, or run the same command with --fresh.",
            ) from error
        try:
            check_depth(data, DEPTH)
            record = RunRecord.from_json(data, label=str(self.record_path))
            check_record(record)
        except TypeError as error:
            raise DataError(
                f"{self.record_path} is not a run record: {error}.",
                remedy="Move its folder away, or run the same command with --fresh.",
            ) from error
        return record

    def existing_record(self) -> RunRecord:
        """run.json; raises DataError where there is none."""
        record = self.read_record()
        if record is None:
            raise DataError(
                f"{self.path} is not a run folder: it has no {RUN_RECORD}.",
                remedy="harness list runs",
            )
        return record

    def read_predictions(self) -> list[Prediction]:
        """The predictions, in the file's order; a last line that was cut is left out."""
        with contextlib.suppress(OSError):  # reading tells of it
            self._state = _State.of(self.predictions_path)
        return [prediction for prediction, _ in self._lines(self.predictions_path)]

    def read_beyond(self) -> list[Prediction]:
        """Answers that the last --limit left out of the run."""
        return [prediction for prediction, _ in self._lines(self.beyond_path)]

    def read_all(self) -> list[Prediction]:
        """The predictions, and the answers that the last --limit left out."""
        found = self.read_predictions()
        known = {p.sample_id for p in found}
        return [*found, *(p for p in self.read_beyond() if p.sample_id not in known)]

    def last_written(self) -> float | None:
        """When a prediction was last added, in seconds since 1970; None where there is none."""
        try:
            return self.predictions_path.stat().st_mtime
        except FileNotFoundError:
            return None

    def existing_predictions(self) -> list[Prediction]:
        """The predictions; raises DataError where there are none."""
        predictions = self.read_predictions()
        if not predictions:
            raise DataError(f"{self.predictions_path} holds no answers.")
        return predictions

    def _lines(self, path: Path) -> Iterator[tuple[Prediction, int]]:
        """Each prediction with the file offset behind its line."""
        try:
            file = open_regular(path, limit=MAX_ROWS, within=self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unreadable(path, error) from error
        with file:
            offset = 0
            seen: set[str] = set()
            for number, line in enumerate(_lines_of(file, path), start=1):
                if not line.endswith(b"\n"):
                    return  # cut by a crash
                offset += len(line)
                try:
                    prediction = prediction_from_json(parse_json(line))
                    _refuse_double(prediction.sample_id, seen)
                except (ValueError, TypeError, AttributeError) as error:
                    raise DataError(
                        f"{path}, line {number} is not a prediction: {error}.",
                        remedy="Remove that line and run the same command again, or use --fresh.",
                    ) from error
                yield prediction, offset

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Append and fsync. On the first call a cut last line is removed.

        Raises:
            Moved: others have removed, renamed, replaced or changed the file.
        """
        self.check_predictions()
        if self._file is None:
            ends = [end for _, end in self._lines(self.predictions_path)]
            self._file = open(self.predictions_path, "ab")  # noqa: SIM115  # closed with the lock
            self._file.truncate(ends[-1] if ends else 0)
        with named(self.predictions_path):
            self._file.write(b"".join(_line(p) for p in predictions))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._state = _State.of_stat(os.fstat(self._file.fileno()))

    def check_predictions(self) -> None:
        """Raises Moved where predictions.jsonl is not as it was last read or written here."""
        if self._state is None:
            return
        now = _State.of(self.predictions_path)
        if now == self._state:
            return
        if now == _State():
            what = "it was removed or renamed"
        elif now.file != self._state.file:
            what = "it is another file"
        else:
            what = f"it has {now.length:,} bytes, and had {self._state.length:,}"
        raise Moved(
            f"{self.predictions_path} was changed while this run used it: {what}.",
            code=Exit.UNEXPECTED,
        )

    def rescue(self, predictions: Sequence[Prediction]) -> Path:
        """Write the predictions beside where they belong; returns the file."""
        path = (
            self.path / f"predictions.rescued-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.jsonl"
        )
        write_atomically(path, map(_line, predictions))
        return path

    def rewrite(
        self, predictions: Sequence[Prediction], *, beyond: Sequence[Prediction] = ()
    ) -> None:
        """Replace all predictions at once: either the old file or the new one is there.

        Args:
            beyond: answers that are kept without being part of the run.
        """
        self.check_predictions()
        self._close()
        if beyond:
            write_atomically(self.beyond_path, map(_line, beyond))
        write_atomically(self.predictions_path, map(_line, predictions))
        self._state = _State.of(self.predictions_path)
        if not beyond:
            self.beyond_path.unlink(missing_ok=True)

    def write_record(self, record: RunRecord) -> None:
        """Replace run.json at once."""
        text = json.dumps(finite(record.to_json()), ensure_ascii=False, indent=1) + "\n"
        write_atomically(self.record_path, text.encode("utf-8", "backslashreplace"))

    def move_aside(self) -> Path | None:
        """Rename what is there, so that a fresh run can begin; returns the new path."""
        self._state = None
        return set_aside(self._parts, self.path)


@dataclass(frozen=True, slots=True)
class _State:
    """Which file it is, and how long; of nothing where there is none."""

    file: tuple[int, int] = (0, 0)
    length: int = 0

    @classmethod
    def of(cls, path: Path) -> Self:
        try:
            return cls.of_stat(path.stat())
        except FileNotFoundError:
            return cls()

    @classmethod
    def of_stat(cls, found: os.stat_result) -> Self:
        return cls((found.st_dev, found.st_ino), found.st_size)


def _lines_of(file: IO[bytes], path: Path) -> Iterator[bytes]:
    try:
        yield from read_lines(file)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read: {error.strerror}.")


_held: set[IO[bytes]] = set()
"""Locks belong to the process: those that it has."""


def _let_go() -> None:
    """A forked process (one that prepares questions, say) would hold them on when its parent was
    killed."""
    for lock in _held:
        lock.close()
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


def _refuse_double(sample_id: str, seen: set[str]) -> None:
    if sample_id in seen:
        raise ValueError(f"sample {sample_id!r} is there twice")
    seen.add(sample_id)


def find_runs(runs: Path) -> list[RunFolder]:
    """Every run under `runs`, sorted by path; runs that were moved aside are left out."""
    found = sorted(path.parent for path in runs.glob(f"*/*/*/{RUN_RECORD}"))
    return [RunFolder(path) for path in found if not re.search(r"\.\d{8}-\d{6}", path.name)]


def read_runs(runs: Path) -> tuple[list[tuple[Path, RunRecord]], list[HarnessError]]:
    """Every run under `runs` with its folder; and, for those that cannot be read, why."""
    found: list[tuple[Path, RunRecord]] = []
    broken: list[HarnessError] = []
    for folder in find_runs(runs):
        try:
            if record := folder.read_record():
                found.append((folder.path, record))
        except HarnessError as error:
            broken.append(error)
    return found, broken


def _older_name(label: str) -> str:
    """What `safe_name` made of a label until two of them could share a name."""
    name = re.sub(r"[^\w.+-]+", "-", label, flags=re.ASCII).strip(".-")[:100]
    return name or "unnamed"


def _line(prediction: Prediction) -> bytes:
    text = json.dumps(finite(asdict(prediction)), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace") + b"\n"
