"""The answers of all runs, read in a stream: those of one run in memory at a time.

Where there are many, two processes read them, and what was read is kept for the next page.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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
        found = self._map(_read_to_keep, jobs, [size for size in sizes if size])
        return [
            (_from_json(run, made) if size and (made := next(found)) else None) or _read_here(run)
            for run, size in zip(runs, sizes, strict=True)
        ]

    def pack(self, plans: Sequence[BlockPlan]) -> Iterator[Packed]:
        """The blocks of these plans; other processes begin with them at once."""
        keys = [_key_of_block(plan) for plan in plans]
        found = [self._kept(key) for key in keys]
        missing = [plan for plan, kept in zip(plans, found, strict=True) if kept is None]
        sizes = [sum(end - start for start, end in plan.spans) for plan in missing]
        in_files = all(plan.is_in_files for plan in missing)
        made = self._map(pack, missing, sizes if in_files else [])
        return self._packed(keys, found, made)

    def _packed(
        self, keys: Sequence[str], found: Sequence[Packed | None], made: Iterator[Packed]
    ) -> Iterator[Packed]:
        """The blocks that were kept, and those that are made, which are kept from now on."""
        for key, kept in zip(keys, found, strict=True):
            block = kept or next(made)
            if kept is None and key and self._cache:
                self._cache.put(key, block.to_bytes())
            yield block

    def _kept(self, key: str) -> Packed | None:
        data = self._cache.get(key) if key and self._cache else None
        return None if data is None else Packed.from_bytes(data)

    def _map(
        self, function: Callable[[T], R], jobs: Sequence[T], sizes: Sequence[int]
    ) -> Iterator[R]:
        """`function` of each, by other processes where that is worth it, which begin at once.

        Args:
            sizes: the bytes that each reads; none: in this process.
        """
        if sum(sizes) < WORTH_PROCESSES or len(jobs) < 2 or available_cores() < 2:
            return map(function, jobs)
        if self._pool is None:
            # What they make has no cycles; looking for some takes an eighth of their time.
            self._pool = worker_pool(PROCESSES, gc.disable)
            # Interrupted, it waits for what its processes are at, not for all that is left.
            self._ending.callback(self._pool.shutdown, cancel_futures=True)
        # The largest first: at the end no process waits long for the other.
        order = sorted(range(len(jobs)), key=lambda place: -sizes[place])
        begun = {place: self._pool.submit(function, jobs[place]) for place in order}
        return (begun.pop(place).result() for place in range(len(jobs)))


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
    """What was read of a run, by the place of each answer: mappings by sample id would be most of
    it. None where scores are more than numbers."""
    columns = _fields(found.columns)
    columns["topics"] = _numbered(found.columns.topics)
    if (known := found.answers) is None:
        return json.dumps({"answers": None, "columns": columns}).encode()
    if known.scored.scoring != Scoring():
        return None
    answers, scored, ids = _fields(known), _fields(known.scored), found.columns.ids
    for name in ("scores", "clusters", "groups"):
        scored[name] = _by_place(scored[name], ids)
    scored["questions"] = "".join("1" if i in known.scored.questions else "0" for i in ids)
    del scored["scoring"]
    answers["topics"] = _numbered(_by_place(known.topics, ids))
    answers["metric"] = asdict(known.metric)
    answers["by_extractor"] = [asdict(each) for each in known.by_extractor]
    answers["scored"] = scored
    return json.dumps({"answers": answers, "columns": columns}).encode()


def _from_json(run: RunData, made: tuple[str, bytes]) -> ReadRun:
    digest, kept = made
    assert run.file is not None
    data = json.loads(kept)
    data["columns"]["topics"] = _from_numbered(data["columns"]["topics"])
    columns = Columns(**data["columns"])
    return ReadRun(
        source=replace(run, file=PredictionsFile(run.file.path, digest)),
        answers=None if data["answers"] is None else _answers(data["answers"], columns),
        columns=columns,
    )


def _answers(data: dict[str, Any], columns: Columns) -> Answers:
    """The answers of a run from what `_to_json` makes of them."""
    scored, ids = data["scored"], columns.ids
    for name in ("scores", "clusters", "groups"):
        scored[name] = _by_id(scored[name], ids)
    scored["questions"] = {
        i: digest
        for i, digest, asked in zip(ids, columns.questions(), scored["questions"], strict=True)
        if asked == "1"
    }
    data["topics"] = _by_id(_from_numbered(data["topics"]), ids)
    data["metric"] = MetricFormat(**data["metric"])
    data["by_extractor"] = tuple(ExtractorResult(**each) for each in data["by_extractor"])
    data["scored"] = RunScores(**scored)
    return Answers(**data)


def _by_place(values: Mapping[str, T], ids: Sequence[str]) -> list[T | None]:
    """What a mapping has for each id; None: nothing."""
    return list(map(values.get, ids)) if values else []


def _by_id(values: Sequence[T | None], ids: Sequence[str]) -> dict[str, T]:
    """The mapping that `_by_place` was made of, in the order of the ids."""
    return {i: value for i, value in zip(ids, values, strict=False) if value is not None}


def _numbered(values: Sequence[T]) -> dict[str, list[Any]]:
    """Values of which many are equal, each once."""
    numbers: dict[T, int] = {}
    places = [numbers.setdefault(value, len(numbers)) for value in values]
    return {"values": list(numbers), "places": places}


def _from_numbered(found: Mapping[str, list[Any]]) -> list[Any]:
    """The values that `_numbered` was made of."""
    return list(map(found["values"].__getitem__, found["places"]))


def _fields(found: Any) -> dict[str, Any]:
    """The fields of a dataclass by name."""
    return {field.name: getattr(found, field.name) for field in fields(found)}


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
