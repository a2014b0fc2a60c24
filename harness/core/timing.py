"""Definitions of the times of a run, and the computation of its figures.

*Inference minutes* is the sum over all answered samples of `Prediction.seconds`, in minutes:
preprocessing (decoding the picture, template, tokens, pixels) and generation. The wall time of each
pass through the model is shared equally by the samples in it: those that are prefilled, those that
get a token in a decode step, those of a batch. If processes prepare questions ahead, preprocessing
is the time spent waiting for them. So the shares add up to the time that passed. Loading, warm-up,
answer extraction and scoring are not included. Each sample counts once, in whichever process it was
answered: a resumed run counts nothing twice.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.types import Prediction

DEFINITION = (
    "sum over samples of preprocessing, as far as it was waited for, and generation, the wall time "
    "of each pass shared equally by the samples in it; loading, warm-up and scoring left out; "
    "every sample counted once"
)
REMOTE = "remote engine"
"""The `device` of a session in which a server answered."""
REMOTE_DEFINITION = (
    "wall clock of a remote engine: encoding the pictures here, then from a batch's first request "
    "to its last answer, network, queueing and retries included, shared equally by its samples; "
    "not comparable with runs whose engine ran here; every sample counted once"
)


def is_remote(sessions: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a server answered, so that times are its wall clock and memory is unknown."""
    return any(session.get("device") == REMOTE for session in sessions)


SEVERAL = (
    "; up to {} devices worked at once, and this is the sum over them: wall_minutes is the time "
    "that passed"
)


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The value at `share` (0 to 1) of `sorted_values`, interpolated linearly as numpy does."""
    position = share * (len(sorted_values) - 1)
    below = int(position)
    above = min(below + 1, len(sorted_values) - 1)
    weight = position - below
    return sorted_values[below] * (1 - weight) + sorted_values[above] * weight


def summarise(
    predictions: Sequence[Prediction], sessions: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The `timing` of a record.

    Args:
        predictions: all of the run; those that failed or were not timed here do not count.
        sessions: one entry for each process that worked on the run, with load, warm-up and scoring
            seconds, peak memory in bytes and energy in joules.
    """
    timed = [p for p in predictions if p.seconds is not None and p.error is None]
    seconds = sorted(p.seconds for p in timed if p.seconds is not None)
    latencies = sorted(p.latency for p in timed if p.latency is not None)
    remote = is_remote(sessions)
    total = sum(seconds)
    preprocess = sum(p.preprocess_seconds or 0.0 for p in timed)
    # If a server does not count tokens, there is no number rather than one that is too small.
    counted = all(p.tokens is not None for p in timed)
    tokens = sum(p.tokens or 0 for p in timed) if counted else None
    devices, wall = at_once(sessions)
    held = {session.get("devices") for session in sessions if session.get("samples") != 0}
    each = held.pop() if len(held) == 1 else None
    peaks = [session.get("peak_memory_bytes") or {} for session in sessions]
    energy = [session.get("energy_joules") for session in sessions]
    return {
        "inference_minutes": total / 60 if timed else None,
        "inference_minutes_definition": (REMOTE_DEFINITION if remote else DEFINITION)
        + (SEVERAL.format(devices) if devices is not None and devices > 1 else ""),
        "devices": devices,
        "wall_minutes": wall,
        "device_minutes": total / 60 * each if timed and each else None,
        "remote": remote,
        "timed_samples": len(timed),
        "seconds_per_sample": _spread(seconds),
        "latency_seconds": _spread(latencies),
        "samples_per_second": len(timed) / total if total else None,
        "tokens_per_second": tokens / (total - preprocess)
        if total > preprocess and tokens is not None
        else None,
        "tokens_out": tokens,
        "tokens_in": sum(p.tokens_in or 0 for p in timed)
        if all(p.tokens_in is not None for p in timed)
        else None,
        "preprocess_seconds": preprocess,
        "generate_seconds": total - preprocess,
        "load_seconds": _last(sessions, "load_seconds"),
        "warmup_seconds": _last(sessions, "warmup_seconds"),
        "score_seconds": _last(sessions, "score_seconds"),
        "peak_memory_bytes": {
            kind: max((peak.get(kind) or 0 for peak in peaks), default=0) or None
            for kind in ("process", "device")
        },
        # A session without a measurement would make the sum too small.
        "energy_joules": sum(e for e in energy if e is not None)
        if energy and all(e is not None for e in energy)
        else None,
    }


def _spread(ordered: Sequence[float]) -> dict[str, float] | None:
    """Mean and percentiles of sorted seconds; None of none."""
    if not ordered:
        return None
    return {
        "mean": sum(ordered) / len(ordered),
        "p50": percentile(ordered, 0.50),
        "p90": percentile(ordered, 0.90),
        "p99": percentile(ordered, 0.99),
    }


def at_once(sessions: Sequence[Mapping[str, Any]]) -> tuple[int | None, float | None]:
    """The most devices that worked at the same time, and the minutes in which any did; None if a
    process did not record it."""
    changes: list[tuple[float, int]] = []
    worked = [session for session in sessions if session.get("samples") != 0]
    for session in worked:
        begun, ended = session.get("answered_from"), session.get("answered_until")
        if begun is None or ended is None:
            return None, None
        number = session.get("devices") or 1
        changes += [(begun, number), (max(begun, ended), -number)]
    changes.sort()  # a session that ends as another begins does not overlap it
    most = now = 0
    seconds = before = 0.0
    for moment, change in changes:
        seconds += (moment - before) if now else 0.0
        now, before = now + change, moment
        most = max(most, now)
    known = worked and all(session.get("devices") for session in worked)
    return (most if known else None), (seconds / 60 if worked else None)


def settled(
    sessions: Sequence[Mapping[str, Any]], *, answered: int, until: float | None
) -> list[Mapping[str, Any]]:
    """The entries of earlier processes. If the last one was killed, its samples are those that the
    others did not answer.

    Args:
        answered: samples that all of them answered together.
        until: when the last line was written, in seconds since 1970.
    """
    made = [dict(session) for session in sessions]
    if made and made[-1].get("samples") is None:
        samples = answered - sum(session.get("samples") or 0 for session in made[:-1])
        made[-1].update(samples=samples, answered_until=until if samples else None)
    return list(made)


def _last(sessions: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [session[key] for session in sessions if session.get(key) is not None]
    return values[-1] if values else None


def peak_process_memory() -> int:
    """The peak memory of this process since its start, in bytes: an upper bound for each of its
    runs."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_device_memory(device: str) -> int | None:
    """The peak memory that torch has allocated on an accelerator, in bytes; None on a CPU."""
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.max_memory_allocated(torch.device(device))


def peak_memory(device: str) -> dict[str, int | None]:
    """Both, as a record has them."""
    return {"process": peak_process_memory(), "device": peak_device_memory(device)}


def reset_peak_device_memory(device: str) -> None:
    """Restart the measurement of `peak_device_memory`."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(torch.device(device))


class Energy:
    """Joules used by an NVIDIA device since `start`, where NVML works."""

    def __init__(self, device: str) -> None:
        self._handle: Any = None
        self._begun: int | None = None
        if not device.startswith("cuda"):
            return
        try:
            import pynvml
        except ImportError:
            return
        try:
            pynvml.nvmlInit()
            # Torch's own numbering follows CUDA_VISIBLE_DEVICES, NVML's does not.
            import torch

            uuid = str(torch.cuda.get_device_properties(torch.device(device)).uuid)
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
            pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        except pynvml.NVMLError:
            self._handle = None

    def start(self) -> None:
        """Count from now on: warm-up and sizing are not what is measured."""
        self._begun = self._millijoules()

    def joules(self) -> float | None:
        """The energy so far; 0 before `start`, None if it is unknown."""
        now = self._millijoules()
        if now is None:
            return None
        return 0.0 if self._begun is None else (now - self._begun) / 1000

    def _millijoules(self) -> int | None:
        """What the device has used since its driver was loaded."""
        if self._handle is None:
            return None
        import pynvml

        return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
