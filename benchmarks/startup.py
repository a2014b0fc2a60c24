"""CPU seconds that harness itself costs: help, lists, and the fixed cost of a small run.

    python benchmarks/startup.py

Each figure is the least of five. The run answers 64 drawn questions with a tiny checkpoint; what
importing torch and transformers takes in the same minute is measured beside it. The last line is
one JSON document.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.families.tiny import build
from harness.synthetic.export import export
from harness.synthetic.questions import questions

HARNESS = str(Path(sys.executable).parent / "harness")


def cpu_seconds(command: list[str]) -> float:
    """User and system time of a process and its children, the least of five."""
    least = float("inf")
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        least = min(least, spent)
    return round(least, 2)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(folder / "questions", "test", questions("test", count=64))
        build("llava", folder / "llava")
        run = [HARNESS, "eval", "--model", str(folder / "llava"), "--task", "scienceqa"]
        run += ["--data", str(folder / "questions"), "--runs", str(folder / "runs")]
        run += ["--max-new-tokens", "8", "--fresh", "--json"]
        found = {
            "harness --help": cpu_seconds([HARNESS, "--help"]),
            "harness list models": cpu_seconds([HARNESS, "list", "models"]),
            "import torch, transformers": cpu_seconds(
                [sys.executable, "-c", "import torch, transformers"]
            ),
            "run of 64 samples": cpu_seconds(run),
        }
    found["run beyond the imports"] = round(
        found["run of 64 samples"] - found["import torch, transformers"], 2
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
