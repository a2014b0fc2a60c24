"""One run that several processes answer. They agree through files, and never wait for each other
while samples are left.

    RUN/.lock             shared by the processes that answer, exclusive to the one that gathers
    RUN/shards/claims     a byte for each sample, locked by the process that answers it
    RUN/shards/0003/      the answers of process 3: a run folder like any other

A free process claims the next samples that no other has claimed. The locks are the kernel's: the
claims of a killed process are free at once, for any number of processes that resume the run. There
is no process group, so that no watchdog ends a run in which one of them is slow.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core import timing
from harness.core.errors import DataError, HarnessError
from harness.core.files.jsonl import whole_lines
from harness.core.files.locks import ByteLocks, InUse, locked
from harness.core.json_values import parse_json
from harness.core.processes import Place
from harness.core.types import Sample
from harness.run.folder import RunFolder
from harness.run.layout import CLAIMS, LAUNCH, PREDICTIONS
from harness.run.records import RunRecord

log = logging.getLogger(__name__)


def shard(folder: RunFolder, place: Place) -> RunFolder:
    """Where the process at `place` writes its answers."""
    return RunFolder(folder.shards_path / f"{place.rank:04}")


class Claims:
    """Claims samples that no other process has answered or claimed.

    Args:
        samples: all of the data, the same in every process: the lock is on a sample's place.
        done: ids that were answered before any of the processes started.
        own: the shard of this process.
    """

    def __init__(
        self, folder: RunFolder, samples: Sequence[Sample], *, done: Iterable[str], own: RunFolder
    ) -> None:
        self._shards = folder.shards_path
        self._places = {sample.id: place for place, sample in enumerate(samples)}
        self._done = set(done)
        self._own = own.path
        self._claimed: set[str] = set()
        self._read: dict[Path, tuple[int, int]] = {}
        """Shard -> which file it was, and up to where it was read."""
        self._news = 0
        self._locks = ByteLocks(self._shards / CLAIMS)

    @property
    def known(self) -> int:
        """Samples that are known to be answered, by any process."""
        return len(self._done)

    def close(self) -> None:
        """Release the claims."""
        self._locks.close()

    def __contains__(self, sample_id: object) -> bool:
        """Whether the sample is another's: answered before, or not claimed here."""
        return sample_id in self._done or sample_id not in self._claimed

    def take(self, batches: Iterable[Sequence[Sample]]) -> Iterator[Sequence[Sample]]:
        """The batches with at least one sample that this process claims, when the batch is needed.
        A batch stays whole: sampled answers depend on all of it."""
        for batch in batches:
            open_ones = [sample for sample in batch if sample.id not in self._done]
            mine = [sample for sample in open_ones if self._claim(sample)]
            if mine:
                # After the claim: a process that has ended may have answered them.
                self._update()
            if any(sample.id not in self._done for sample in mine):
                yield batch

    def news(self) -> int:
        """The number of samples that the other processes have answered since the last call."""
        number, self._news = self._news, 0
        return number

    def _claim(self, sample: Sample) -> bool:
        if not self._locks.take(self._places[sample.id]):
            return False
        self._claimed.add(sample.id)
        return True

    def _update(self) -> None:
        """Read what the other processes have added to their shards."""
        for path in self._shards.glob(f"*/{PREDICTIONS}"):
            if path.parent == self._own:
                continue
            while True:
                file = _file_at(path)
                # A process that ends puts its answers in order, in a new file: read from its start.
                known, end = self._read.get(path, (file, 0))
                start = end if known == file else 0
                # Opened each time: that is when a network file system looks for what is new.
                lines = list(whole_lines(path, start=start))
                if _file_at(path) == file:
                    break
            for line in lines:
                self._read[path] = file, line.end
                self._add(path, line.data)

    def _add(self, path: Path, line: bytes) -> None:
        try:
            found = str(parse_json(line)["sample_id"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} has a line that is not a prediction: {error}: {ascii(line[:40])[1:]}.",
                remedy="Remove that line and run the same command again, or use --fresh.",
            ) from error
        self._news += found not in self._done
        self._done.add(found)


def _file_at(path: Path) -> int:
    """Which file it is; 0 where there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def answering(folder: RunFolder, place: Place) -> Iterator[RunFolder]:
    """Share the run's lock with the other processes; yields this one's shard.

    Raises:
        InUse: another process has this rank: two launches answer the same run.
    """
    with waiting(folder, shared=True):
        own = shard(folder, place)
        with own.locked():
            yield own


@contextlib.contextmanager
def waiting(folder: RunFolder, *, shared: bool = False) -> Iterator[None]:
    """Hold the run as soon as the processes that hold it now release it."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(folder.locked(shared=shared))
        except InUse:
            log.info("%s: waiting for other processes", folder.path)
            held.enter_context(folder.locked(shared=shared, wait=True))
        yield


def begin(folder: RunFolder, *, launch: str | None) -> Path | None:
    """Gather the shards of earlier processes, or move the earlier run aside.

    Args:
        launch: the name of this start of several processes, one of which moves the earlier run
            aside; None: the earlier run is resumed.

    Returns:
        The new folder of the earlier run; None where it was not moved.

    Raises:
        InUse: the earlier run is to be moved aside, and other processes answer it.
    """
    if launch is None:
        with contextlib.suppress(InUse), folder.locked():
            gather(folder)
        return None
    with locked(folder.path / LAUNCH, wait=True) as file:
        file.seek(0)
        if file.read().decode() == launch:
            return None  # another process of this launch has done it
        with folder.locked():
            aside = folder.move_aside()
        file.truncate(0)
        file.write(launch.encode())
    return aside


def launch() -> str:
    """The name that all processes of one launcher on this machine share.

    Raises:
        HarnessError: there are several machines, whose processes share none.
    """
    if int(os.environ.get("LOCAL_WORLD_SIZE", "0")) != int(os.environ["WORLD_SIZE"]):
        raise HarnessError(
            "--fresh with processes on several machines: none of them knows whether another has "
            "already moved the old run aside.",
            remedy="Move the run's folder away yourself, and remove --fresh.",
        )
    parent = os.getppid()
    try:
        since = (
            Path(f"/proc/{parent}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        )
    except OSError:
        since = ""  # not on Linux: process numbers are not reused soon
    return f"{parent} {since}"


def gather(folder: RunFolder) -> bool:
    """Add the answers of all shards to the run and remove the shards; returns whether there were
    any. Call it with the run's exclusive lock.

    It can be interrupted and repeated: answers and sessions that the run has are not added twice.
    """
    parts = [RunFolder(path) for path in sorted(folder.shards_path.glob("*")) if path.is_dir()]
    # A process that was killed before its first batch has no record.
    found = [(part, theirs) for part in parts if (theirs := part.read_record())]
    if not found:
        shutil.rmtree(folder.shards_path, ignore_errors=True)
        return False
    record = folder.existing_record()
    predictions = {p.sample_id: p for p in folder.read_all()}
    sessions = _sessions(folder, record, len(predictions))
    for part, theirs in found:
        part.stop_on_mismatch(record, theirs.fingerprint)
        answers = part.read_predictions()
        for prediction in answers:
            known = predictions.get(prediction.sample_id)
            if known is None or known.error is not None:
                predictions[prediction.sample_id] = prediction
        sessions += [s for s in _sessions(part, theirs, len(answers)) if s not in sessions]
    folder.rewrite(list(predictions.values()))
    folder.write_record(replace(record, sessions=sessions))
    shutil.rmtree(folder.shards_path)
    return True


def _sessions(folder: RunFolder, record: RunRecord, answered: int) -> list[Mapping[str, Any]]:
    return timing.settled(record.sessions, answered=answered, until=folder.last_written())
