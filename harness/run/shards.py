"""One run that several processes answer. They agree through files, and never wait for each other
while there is something to answer.

    RUN/.lock             held together by those who answer, alone by the one who gathers
    RUN/shards/claims     a byte for each sample, locked by the process that is at work on it
    RUN/shards/0003/      what process 3 has answered: a run folder like any other

Whoever is free takes the next samples that nobody has. The locks are the kernel's: what a process
had taken when it was killed is free at once, for whoever goes on, in whatever number. There is no
process group, so that no watchdog ends a night in which one of them is slow.
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
    """Hands out samples that no other process has answered or is at work on.

    Args:
        samples: all of the data, the same in every process: a sample's place is what is locked.
        done: ids that were answered before any of the processes began.
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
        self._read: dict[Path, int] = {}
        self._news = 0
        self._locks = ByteLocks(self._shards / CLAIMS)

    @property
    def known(self) -> int:
        """Samples that are known to be answered, by whichever process."""
        return len(self._done)

    def close(self) -> None:
        """Give back what is claimed."""
        self._locks.close()

    def __contains__(self, sample_id: object) -> bool:
        """Whether the sample is another's: answered before, or not claimed here."""
        return sample_id in self._done or sample_id not in self._claimed

    def take(self, batches: Iterable[Sequence[Sample]]) -> Iterator[Sequence[Sample]]:
        """Of `batches` those of which something is this process's to answer; that is claimed when a
        batch is asked for. A batch stays whole: what is sampled depends on all of it."""
        for batch in batches:
            open_ones = [sample for sample in batch if sample.id not in self._done]
            mine = [sample for sample in open_ones if self._claim(sample)]
            if mine:
                # Behind the claim: one that has ended may have answered them before.
                self._look()
            if any(sample.id not in self._done for sample in mine):
                yield batch

    def news(self) -> int:
        """Samples that the other processes were seen to answer since this was last asked."""
        number, self._news = self._news, 0
        return number

    def _claim(self, sample: Sample) -> bool:
        if not self._locks.take(self._places[sample.id]):
            return False
        self._claimed.add(sample.id)
        return True

    def _look(self) -> None:
        """Read what the other processes have added to their shards."""
        for path in self._shards.glob(f"*/{PREDICTIONS}"):
            if path.parent == self._own:
                continue
            # Opened each time: that is when a network file system looks for what is new.
            for line in whole_lines(path, start=self._read.get(path, 0)):
                self._read[path] = line.end
                self._see(path, line.data)

    def _see(self, path: Path, line: bytes) -> None:
        try:
            found = str(parse_json(line)["sample_id"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} has a line that is not a prediction: {error}.",
                remedy="Remove that line and run the same command again, or use --fresh.",
            ) from error
        self._news += found not in self._done
        self._done.add(found)


@contextlib.contextmanager
def answering(folder: RunFolder, place: Place) -> Iterator[RunFolder]:
    """Hold the run together with the other processes; yields this one's shard.

    Raises:
        InUse: another process has this rank: two launches would be at work on the same run.
    """
    with waiting(folder, shared=True):
        own = shard(folder, place)
        with own.locked():
            yield own


@contextlib.contextmanager
def waiting(folder: RunFolder, *, shared: bool = False) -> Iterator[None]:
    """Hold the run as soon as those who have it now let go."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(folder.locked(shared=shared))
        except InUse:
            log.info("%s: waiting for other processes", folder.path)
            held.enter_context(folder.locked(shared=shared, wait=True))
        yield


def begin(folder: RunFolder, *, launch: str | None) -> Path | None:
    """Make ready what was left by earlier processes, if none is at work now.

    Args:
        launch: names this start of several processes, one of which moves the run that is there
            aside; None: it is continued.

    Returns:
        Where the run that was there is now; None where it was not moved.

    Raises:
        InUse: the run is to be moved aside, and others are at work on it.
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
    """A name that all processes of one launcher on this machine share.

    Raises:
        HarnessError: there are several machines, which share none.
    """
    if int(os.environ.get("LOCAL_WORLD_SIZE", "0")) != int(os.environ["WORLD_SIZE"]):
        raise HarnessError(
            "--fresh with processes on several machines: none of them knows whether another has "
            "moved the old run aside already.",
            remedy="Move the run's folder away yourself, and leave --fresh out.",
        )
    parent = os.getppid()
    try:
        since = (
            Path(f"/proc/{parent}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        )
    except OSError:
        since = ""  # not on Linux: numbers of processes are not used again soon
    return f"{parent} {since}"


def gather(folder: RunFolder) -> bool:
    """Put what the processes have answered into the run, and remove their shards; returns whether
    there were any. To be called with the run held alone.

    What is interrupted here is done again: answers and sessions that the run has are not added
    twice.
    """
    parts = [RunFolder(path) for path in sorted(folder.shards_path.glob("*")) if path.is_dir()]
    # One that was killed before it had anything to answer has no record.
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
