"""The parts of run.json that are mappings: what each field holds, checked when a record is read.

A run folder can come from anywhere. Fields that are not listed here are kept and never read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

DEPTH = 24
"""Of a record: its own parts go six deep, a model's description may add to that."""


class Versioned(TypedDict, total=False):
    """What run.json says of itself."""

    format: int


class PeakMemory(TypedDict, total=False):
    """In bytes."""

    process: int | None
    device: int | None


class Spread(TypedDict, total=False):
    """In seconds."""

    mean: float
    p50: float
    p90: float
    p99: float


class Timing(TypedDict, total=False):
    """`RunRecord.timing`: see harness.core.timing.summarise."""

    inference_minutes: float
    inference_minutes_definition: str
    devices: int | None
    wall_minutes: float
    device_minutes: float
    remote: bool | None
    timed_samples: int | None
    seconds_per_sample: Spread | None
    latency_seconds: Spread | None
    samples_per_second: float
    tokens_per_second: float
    tokens_out: int | None
    tokens_in: int | None
    preprocess_seconds: float
    generate_seconds: float
    load_seconds: float
    warmup_seconds: float
    score_seconds: float
    peak_memory_bytes: PeakMemory | None
    energy_joules: float


class Session(TypedDict, total=False):
    """One of `RunRecord.sessions`: what a process that answered the run records of itself."""

    started: str
    device: str
    batch_size: int | None
    smallest_batch_size: int | None
    workers: int | None
    devices: int | None
    process: int
    processes: int
    samples: int | None
    answered_from: float
    answered_until: float
    load_seconds: float
    warmup_seconds: float
    score_seconds: float
    peak_memory_bytes: PeakMemory | None
    energy_joules: float


class DecodingSettings(TypedDict, total=False):
    """As in harness.core.types.Decoding."""

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int
    stop: str


class Settings(TypedDict, total=False):
    """`RunRecord.settings`: see harness.run.evaluate."""

    style: str
    instruction: str
    wording: str
    mode: str
    options: str
    extractor: str
    engine: str
    dtype: str
    attention: str
    sample: str
    shots: int
    seed: int
    limit: int | None
    shuffle: int | None
    in_place: int
    transparency: Mapping[str, int]
    batch_size: int | None
    workers: int | None
    conclude: bool
    votes: int
    text_only: bool
    decoding: DecodingSettings | None
    processor_args: Mapping[str, Any]
    model: Mapping[str, Any] | None
    skipped: Sequence[str]
    tokenize: str
    bertscore: str | None


class Fingerprint(TypedDict, total=False):
    """The fields of `RunRecord.fingerprint` that are read by themselves; all of it is compared."""

    task: str
    split: str
    mode: str
    extractor: str


class Environment(TypedDict, total=False):
    """`RunRecord.environment`: see harness.core.environment. And a version for each package."""

    harness: str
    commit: str | None
    dirty: bool | None
    python: str
    platform: str
    cpu: str
    device: str | None
    driver: str | None
