"""benchmarks/first_gpu.sh runs to its end, here at tiny sizes on a CPU, whatever goes wrong in it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def first_gpu() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("first_gpu", BENCHMARKS / "first_gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["first_gpu"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.process
def test_every_step_on_a_cpu(first_gpu) -> None:
    """One JSON document with a result of each step, and Table 1's minutes."""
    done = subprocess.run(
        [BENCHMARKS / "first_gpu.sh", "--tiny", "--device", "cpu"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        timeout=590,
    )
    document = json.loads(done.stdout.splitlines()[-1])
    assert list(document["steps"]) == list(first_gpu.STEPS)
    results = {name: step["result"] for name, step in document["steps"].items()}
    assert results["evaluation"]["failed"] == 0
    assert results["growing"]["same_as_alone"]
    assert [one["error"] for one in results["speed"]["figures"]] == [None] * 4
    assert results["training"]["step_seconds"] > 0
    assert all(one["rows"] >= 1 and one["answered"] == 2 for one in results["memory"].values())
    assert set(document["table_1"]["projected_minutes"]) == set(first_gpu.MODELS)


def test_it_ends_within_ten_minutes(first_gpu) -> None:
    """Even where every step takes all that it may."""
    assert sum(limit for _, limit in first_gpu.STEPS.values()) < 600


@pytest.mark.process
def test_a_step_cannot_spoil_another(first_gpu, monkeypatch) -> None:
    """One that fails, dies or hangs is an error of its own in the document."""

    def fail(_: object) -> dict[str, object]:
        raise ValueError("no such kernel")

    monkeypatch.setattr(
        first_gpu,
        "STEPS",
        {
            "fails": (fail, 20),
            "dies": (lambda _: os._exit(7), 20),
            "hangs": (lambda _: time.sleep(60), 0),
            "works": (lambda settings: {"size": settings.size}, 20),
        },
    )
    settings = first_gpu.Settings("cpu", tiny=True)
    found = {name: first_gpu.run_step(name, settings) for name in first_gpu.STEPS}
    assert found["fails"]["error"] == "ValueError: no such kernel"
    assert found["dies"]["error"] == "the process ended with 7"
    assert found["hangs"]["error"] == "more than 0 s"
    assert found["works"]["result"] == {"size": "tiny"}


def test_rows_that_were_not_measured_are_scaled(first_gpu) -> None:
    """By what the measured ones take of their estimates; without a measurement there are none."""
    figures = [
        {"model": name, "batch": 1, "read_seconds": seconds, "step_seconds": 0.0}
        for name, seconds in (("moondream", 60 * 1.2 / 2017), ("phi-3.5", 60 * 4.4 / 2017))
    ]
    found = first_gpu.table_1({"result": {"figures": figures}})
    assert found["projected_minutes"] == pytest.approx({"moondream": 1.2, "phi-3.5": 4.4})
    total = sum(first_gpu.TABLE_1_MINUTES.values())
    assert found["all_rows_minutes"] == pytest.approx(2 * total)
    assert first_gpu.table_1({"error": "more than 240 s"}) is None
