"""The figures of a run's `timing`, by hand."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from harness.core import timing
from harness.core.progress import Lines, duration
from harness.core.types import Prediction


def timed(
    seconds: float | None, preprocess: float = 0.0, tokens: int = 0, error=None
) -> Prediction:
    return Prediction(
        sample_id="x",
        raw="",
        answer=None,
        rule="",
        target=0,
        seconds=seconds,
        preprocess_seconds=preprocess,
        tokens=tokens,
        tokens_in=7,
        error=error,
    )


def test_inference_minutes_are_the_sum_over_answered_samples() -> None:
    """Failed samples and answers made elsewhere do not count; each other sample counts once."""
    rows = [timed(30, 10, 100), timed(90, 20, 200), timed(None), timed(5, error="corrupt")]
    found = timing.summarise(rows, [])
    assert found["inference_minutes"] == 2.0
    assert found["timed_samples"] == 2
    assert found["preprocess_seconds"] == 30
    assert found["generate_seconds"] == 90
    assert found["tokens_per_second"] == pytest.approx(300 / 90)
    assert found["samples_per_second"] == pytest.approx(2 / 120)
    assert found["tokens_in"] == 14


def test_nothing_timed_is_no_zero() -> None:
    """A run without times has no minutes, rather than 0."""
    found = timing.summarise([timed(None)], [])
    assert found["inference_minutes"] is None
    assert found["seconds_per_sample"] is None
    assert found["samples_per_second"] is None


def test_percentiles_are_numpys() -> None:
    """Interpolated linearly, at the ends too."""
    values = sorted([3.0, 1.0, 4.0, 1.5, 9.0, 2.6])
    for share in (0, 0.1, 0.5, 0.9, 0.99, 1):
        expected = np.percentile(values, 100 * share)
        assert timing.percentile(values, share) == pytest.approx(expected, abs=1e-12)


def test_sessions_are_joined() -> None:
    """Memory is the highest peak, energy the sum, and unknown where one session has no reading."""
    sessions = [
        {
            "load_seconds": 3.0,
            "peak_memory_bytes": {"process": 5, "device": None},
            "energy_joules": 2.0,
        },
        {
            "load_seconds": 4.0,
            "peak_memory_bytes": {"process": 4, "device": None},
            "energy_joules": 3.0,
        },
    ]
    found = timing.summarise([], sessions)
    assert found["load_seconds"] == 4.0
    assert found["peak_memory_bytes"] == {"process": 5, "device": None}
    assert found["energy_joules"] == 5.0
    assert timing.summarise([], [*sessions, {}])["energy_joules"] is None


def test_lines_tell_how_long_it_will_take() -> None:
    """A line now and then: done, speed, and the time that remains at that speed."""
    now = [0.0]
    lines: list[str] = []
    progress = Lines(
        "eval", total=10, done=2, unit="samples", clock=lambda: now[0], write=lines.append
    )
    with progress:
        now[0] = 4.0
        progress.advance(2, tokens=60)
        assert lines == []
        now[0] = 20.0
        progress.advance(2, tokens=60)
    assert lines[0] == "eval  6/10  0.20 samples/s  6 tokens/s  0:20 left"


@pytest.mark.parametrize(("seconds", "words"), [(0, "0:00"), (59.6, "1:00"), (3725, "1:02:05")])
def test_durations(seconds: float, words: str) -> None:
    """Minutes and seconds; hours where there are any."""
    assert duration(seconds) == words


def test_energy_is_counted_from_the_first_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warm-up and sizing, which come before, are not in it; without a counter it is unknown."""
    used = [5_000]
    nvml = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda _: used[0],
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(
        "torch.cuda.get_device_properties", lambda _: SimpleNamespace(uuid="0"), raising=False
    )
    energy = timing.Energy("cuda")
    used[0] = 8_000
    assert energy.joules() == 0
    energy.start()
    used[0] = 9_500
    assert energy.joules() == 1.5
    other = timing.Energy("cpu")
    other.start()
    assert other.joules() is None
