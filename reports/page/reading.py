"""The answers of all runs, read in a stream: those of one run in memory at a time.

Where there are many, two processes read them, and what was read is kept for the next page.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self, TypeVar

from harness.core.errors import HarnessError
from harness.core.types import Prediction
from harness.core.worker_pool import available_cores, worker_pool
from reports.inputs.material import RunData
from reports.inputs.metrics import MetricFormat
from reports.inputs.predictions import PredictionsFile
from reports.page.cache import PageCache, key_of
from reports.page.samples.blocks import BlockPlan, Packed, pack
from reports.page.samples.columns import Columns, columns_of
from reports.statistics.answers import Answers, Computed, ExtractorResult, read, with_scores
from reports.statistics.paired import RunScores, Scoring

WORTH_KEEPING = 2**22
"""Bytes of all answers from which on what was read of them is kept."""
WORTH_PROCESSES = 2**25
"""Bytes of answers from which on other processes read them."""
PROCESSES = 2

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRun:
    """What a page keeps of a run's answers."""

    source: RunData
    answers: Answers | None
    columns: Columns


class Reader:
    """Reads answers and packs them, in a `with` block, which ends its processes.

    Args:
        cache: None: nothing is kept.
    """

    def __init__(self, cache: PageCache | None) -> None:
        self._cache = cache
        self._pool: ProcessPoolExecutor | None = None
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()
        if self._cache:
            self._cache.prune()

    def read(self, runs: Sequence[RunData]) -> list[ReadRun]:
        """What a page keeps of these runs, in their order."""
        sizes = [_passable_bytes(run) for run in runs]
        if sum(sizes) < WORTH_KEEPING:
            sizes = [0] * len(sizes)
        kept = [run for run, size in zip(runs, sizes, strict=True) if size]
        jobs = [_Job(replace(run, predictions=list), self._cache) for run in kept]
        found = iter(self._map(_read_to_keep, jobs, sum(sizes)))
        return [
            (_from_json(run, made) if size and (made := next(found)) else None) or _read_here(run)
            for run, size in zip(runs, sizes, strict=True)
        ]

    def pack(self, plans: Sequence[BlockPlan]) -> list[Packed]:
        """The blocks of these plans."""
        keys = [_key_of_block(plan) for plan in plans]
        found = [self._kept(key) for key in keys]
        missing = [plan for plan, kept in zip(plans, found, strict=True) if kept is None]
        sizes = sum(end - start for plan in missing for start, end in plan.spans)
        in_files = all(plan.is_in_files for plan in missing)
        made = iter(self._map(pack, missing, sizes if in_files else 0))
        blocks = []
        for key, kept in zip(keys, found, strict=True):
            block = kept or next(made)
            if kept is None and key and self._cache:
                self._cache.put(key, block.to_bytes())
            blocks.append(block)
        return blocks

    def _kept(self, key: str) -> Packed | None:
        data = self._cache.get(key) if key and self._cache else None
        return None if data is None else Packed.from_bytes(data)

    def _map(self, function: Callable[[T], R], jobs: Sequence[T], size: int) -> Iterable[R]:
        """`function` of each, by other processes where that is worth it."""
        if size < WORTH_PROCESSES or len(jobs) < 2 or available_cores() < 2:
            return map(function, jobs)
        if self._pool is None:
            # What they make has no cycles; looking for some takes an eighth of their time.
            self._pool = worker_pool(PROCESSES, gc.disable)
            # Interrupted, it waits for what its processes are at, not for all that is left.
            self._ending.callback(self._pool.shutdown, cancel_futures=True)
        return self._pool.map(function, jobs)


@dataclass(frozen=True, slots=True)
class _Job:
    """A run that another process may read."""

    run: RunData
    cache: PageCache | None


def _passable_bytes(run: RunData) -> int:
    """The bytes of a run's file; 0 where what is read of it can be neither kept nor passed from one
    process to another, because a user's own code scores its answers."""
    return run.file.size if run.file and run.task is None else 0


def _read_here(run: RunData) -> ReadRun:
    """Read a run in this process."""
    try:
        predictions, ends = run.file.read() if run.file else (run.predictions(), [])
    except HarnessError:
        predictions, ends = run.predictions(), []  # keeps the error for the user
    return _read(run, predictions, ends)


def _read(run: RunData, predictions: Sequence[Prediction], ends: Sequence[int]) -> ReadRun:
    held = with_scores(run.record, predictions)
    computed = Computed.of(run.record, held)
    return ReadRun(
        source=run,
        answers=read(run.holding(held), computed),
        columns=columns_of(run.record, held, computed, ends=ends),
    )


def _read_to_keep(job: _Job) -> tuple[str, bytes] | None:
    """The digest of a run's file, and what is kept of it as JSON; None where the file cannot be
    read, or where what it gives is no JSON."""
    run, cache = job.run, job.cache
    assert run.file is not None
    state, digest = run.file.state(), run.file.digest()
    key = key_of("run", digest, json.dumps(run.record.to_json(), sort_keys=True, default=str))
    kept = cache.get(key) if cache else None
    if kept is None:
        try:
            predictions, ends = run.file.read()
        except HarnessError:
            return None
        kept = _to_json(_read(run, predictions, ends))
        if kept is None or run.file.state() != state:  # it is not what the digest is of
            return None
        if cache:
            cache.put(key, kept)
    return digest, kept


def _to_json(found: ReadRun) -> bytes | None:
    """None where scores are more than numbers."""
    answers = None
    if found.answers is not None:
        if found.answers.scored.scoring != Scoring():
            return None
        answers = _fields(found.answers)
        answers["metric"] = asdict(found.answers.metric)
        answers["by_extractor"] = [asdict(each) for each in found.answers.by_extractor]
        answers["scored"] = _fields(found.answers.scored)
        del answers["scored"]["scoring"]
    return json.dumps({"answers": answers, "columns": _fields(found.columns)}).encode()


def _from_json(run: RunData, made: tuple[str, bytes]) -> ReadRun:
    digest, kept = made
    assert run.file is not None
    data = json.loads(kept, object_hook=_bytes)
    answers = data["answers"]
    if answers is not None:
        answers["metric"] = MetricFormat(**answers["metric"])
        answers["by_extractor"] = tuple(ExtractorResult(**e) for e in answers["by_extractor"])
        answers["scored"] = RunScores(**answers["scored"])
    return ReadRun(
        source=replace(run, file=PredictionsFile(run.file.path, digest)),
        answers=None if answers is None else Answers(**answers),
        columns=Columns(**data["columns"]),
    )


def _fields(found: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON has them: bytes, which stand in mappings, in hex."""
    made = {}
    for field in fields(found):
        value = getattr(found, field.name)
        if isinstance(value, dict) and any(isinstance(item, bytes) for item in value.values()):
            value = {_HEX: {key: item.hex() for key, item in value.items()}}
        made[field.name] = value
    return made


_HEX = "bytes in hex"


def _bytes(found: dict[str, Any]) -> dict[str, Any]:
    if found.keys() != {_HEX}:
        return found
    return {key: bytes.fromhex(item) for key, item in found[_HEX].items()}


def _key_of_block(plan: BlockPlan) -> str:
    """The name of a block in the cache; empty where it is not kept."""
    digests = [
        run.source.known if isinstance(run.source, PredictionsFile) else "" for run in plan.runs
    ]
    if not all(digests):
        return ""
    about = [
        {**_fields(run), "source": known} for run, known in zip(plan.runs, digests, strict=True)
    ]
    return key_of("block", json.dumps({**_fields(plan), "runs": about}))
