"""The folder of one run: run.json has its settings and metrics, predictions.jsonl its answers.

Predictions are appended, and a thread fsyncs them; run.json is replaced at once; a lock that ends
with its process keeps a second writer out.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from harness.core.errors import DataError, Exit, HarnessError
from harness.core.files import jsonl, locks
from harness.core.files.atomic import remove_leftovers, write_atomically
from harness.core.files.json_files import read_json, write_json
from harness.core.files.paths import safe_name
from harness.core.files.regular import open_regular
from harness.core.files.set_aside import set_aside
from harness.core.json_types import check_depth
from harness.core.json_values import parse_json
from harness.core.mismatch import stop_on_mismatch
from harness.core.types import Prediction
from harness.run.layout import (
    BEYOND_LIMIT,
    JUDGEMENTS,
    LOCK,
    PREDICTIONS,
    RUN_RECORD,
    SHARDS,
    STATUS,
)
from harness.run.record_fields import DEPTH
from harness.run.records import (
    RunRecord,
    check_record,
    prediction_from_json,
    prediction_to_json,
)
from harness.tracking.trackers import TRACKING_RECORD

_RESTART = "Move its folder away, or run the same command with --fresh."


class PredictionsChanged(HarnessError):  # noqa: N818  # a state, not a mistake
    """Others have changed or replaced predictions.jsonl since it was last read or written here."""


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._appender = jsonl.Appender(self.predictions_path)
        self._state: _State | None = None
        """Of predictions.jsonl when it was last read or written here; None before that."""

    @classmethod
    def of(cls, runs: Path, *, task: str, model: str, split: str) -> Self:
        """The folder of a run under `runs`, or the one that an older version chose for it."""
        path = runs / safe_name(task) / safe_name(model) / safe_name(split)
        older = cls(runs / _older_name(task) / _older_name(model) / _older_name(split))
        if older.path != path and not path.exists() and older._is_of(task, model, split):
            return older
        return cls(path)

    def _is_of(self, task: str, model: str, split: str) -> bool:
        """Whether the folder has the record of this run."""
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
        """Whether there is a run, or a part of one."""
        return any(path.exists() for path in self._parts)

    @property
    def _parts(self) -> tuple[Path, ...]:
        ours = (self.predictions_path, self.record_path, self.beyond_path, self.shards_path)
        own = (STATUS, JUDGEMENTS, TRACKING_RECORD)
        return *ours, *(self.path / name for name in own)

    @contextlib.contextmanager
    def locked(self, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
        """Hold the run for writing until the block ends, or the process, however it ends.

        Args:
            shared: hold it together with others that share it.
            wait: wait for those who hold it now instead of raising InUse.

        Raises:
            InUse: another process holds it.
        """
        lock = locks.locked(
            self.path / LOCK,
            instead="choose another folder with --runs",
            shared=shared,
            wait=wait,
        )
        with lock:
            remove_leftovers(self.path, (RUN_RECORD, PREDICTIONS, BEYOND_LIMIT))
            try:
                yield
            finally:
                self._appender.close()

    def read_record(self) -> RunRecord | None:
        """run.json, or None where there is none."""
        try:
            data = read_json(self.record_path, remedy=_RESTART)
        except FileNotFoundError:
            return None
        try:
            check_depth(data, DEPTH)
            record = RunRecord.from_json(data, label=str(self.record_path))
            check_record(record)
        except TypeError as error:
            raise DataError(
                f"{self.record_path} is not a run record: {error}.", remedy=_RESTART
            ) from error
        return record

    def stop_on_mismatch(
        self, old: RunRecord, fingerprint: Mapping[str, Any], *, command: Sequence[str] = ()
    ) -> None:
        """Raises HarnessError where the `old` record of this run has other settings.

        Args:
            command: the command that is under way.
        """
        stop_on_mismatch(
            old.fingerprint,
            fingerprint,
            what=f"the run in {self.path}",
            made_by=old.command,
            command=command,
        )

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
        """The predictions, in the file's order, without a cut last line."""
        with contextlib.suppress(OSError):  # reading it raises the error
            self._state = _State.of(self.predictions_path)
        return _predictions(self.predictions_path)

    def read_indexed(self) -> tuple[list[Prediction], list[int]]:
        """The predictions, and the offset in the file after each of their lines."""
        ends: list[int] = []
        return _predictions(self.predictions_path, ends), ends

    def read_beyond(self) -> list[Prediction]:
        """Answers that the last --limit leaves out of the run."""
        return _predictions(self.beyond_path)

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

    @property
    def has_former_lines(self) -> bool:
        """Whether an older version wrote predictions.jsonl: what follows would have other fields
        than what is there."""
        try:
            with open_regular(self.predictions_path, within=self.path) as file:
                line = file.readline()
            return bool(line) and line != _line(prediction_from_json(parse_json(line)))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return False  # reading all of it says what is wrong

    def existing_predictions(self) -> list[Prediction]:
        """The predictions; raises DataError where there are none."""
        predictions = self.read_predictions()
        if not predictions:
            raise DataError(f"{self.predictions_path} holds no answers.")
        return predictions

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Append, and begin to fsync: see `harness.core.files.jsonl.Appender`. The first call
        removes a cut last line.

        Raises:
            PredictionsChanged: others have removed, renamed, replaced or changed the file.
        """
        self.check_predictions()
        self._state = _State.of_stat(self._appender.append(map(_line, predictions)))

    def check_predictions(self) -> None:
        """Raises PredictionsChanged where others have changed predictions.jsonl since it was last
        read or written here."""
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
        raise PredictionsChanged(
            f"{self.predictions_path} was changed while this run used it: {what}.",
            code=Exit.UNEXPECTED,
        )

    def rescue(self, predictions: Sequence[Prediction]) -> Path:
        """Write the predictions to a new file of the run's folder; returns it."""
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
        self._appender.close()
        if beyond:
            write_atomically(self.beyond_path, map(_line, beyond))
        write_atomically(self.predictions_path, map(_line, predictions))
        self._state = _State.of(self.predictions_path)
        if not beyond:
            self.beyond_path.unlink(missing_ok=True)

    def write_record(self, record: RunRecord) -> None:
        """Replace run.json at once, when all answers that were appended are on the disk."""
        self._appender.sync()
        write_json(self.record_path, record.to_json())

    def move_aside(self) -> Path | None:
        """Rename what is there, so that the run can restart; returns the new path."""
        self._appender.close()
        self._state = None
        return set_aside(self._parts, self.path)


@dataclass(frozen=True, slots=True)
class _State:
    """Which file it is, and its length; zeros where there is none."""

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


def _predictions(path: Path, ends: list[int] | None = None) -> list[Prediction]:
    seen: set[str] = set()

    def parse(value: Any) -> Prediction:
        prediction = prediction_from_json(value)
        if prediction.sample_id in seen:
            raise ValueError(f"sample {prediction.sample_id!r} is there twice")
        seen.add(prediction.sample_id)
        return prediction

    return list(jsonl.read_jsonl(path, parse, kind="a prediction", ends=ends))


def find_runs(runs: Path) -> list[RunFolder]:
    """Every run under `runs`, sorted by path; runs that were moved aside are left out."""
    return list(map(RunFolder, _folders_with(RUN_RECORD, runs)))


def _folders_with(name: str, runs: Path) -> list[Path]:
    found = sorted(path.parent for path in runs.glob(f"*/*/*/{name}"))
    return [path for path in found if not re.search(r"\.\d{8}-\d{6}", path.name)]


def without_record(folder: Path) -> HarnessError:
    """The error for answers of which nothing says what they are."""
    return HarnessError(
        f"{folder} has predictions but no {RUN_RECORD}, which says what they are of.",
        remedy="Restore it, or use --fresh to move them aside.",
    )


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
    broken += [
        without_record(path)
        for path in _folders_with(PREDICTIONS, runs)
        if not (path / RUN_RECORD).exists()
    ]
    return found, broken


def _older_name(label: str) -> str:
    """What `safe_name` made of a label until two of them could share a name."""
    name = re.sub(r"[^\w.+-]+", "-", label, flags=re.ASCII).strip(".-")[:100]
    return name or "unnamed"


def _line(prediction: Prediction) -> bytes:
    return jsonl.encode_line(prediction_to_json(prediction))
