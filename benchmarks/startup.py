"""CPU seconds that commands cost, next to those of the imports that a model needs.

    python benchmarks/startup.py

Each figure is the least of five, all measured in the same minutes. One run answers 64 synthetic
questions with a tiny checkpoint, the others one question with the mini of Phi-3.5-vision. The last
line is one JSON document.
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


IMPORTS = {
    "import torch": "import torch",
    "import transformers' model classes": (
        "from transformers import AutoModelForImageTextToText, AutoProcessor"
    ),
}
MINI = ("--size", "mini", "--task", "scienceqa-mini", "--limit", "1")


def cpu_seconds(command: list[str], folder: Path) -> float:
    """User and system time of a process and its children, the least of five."""
    least = float("inf")
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        subprocess.run(command, check=True, capture_output=True, env=environment, cwd=folder)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        least = min(least, spent)
    return round(least, 2)


def commands(folder: Path) -> dict[str, list[str]]:
    """What is measured, in this order: a name and the arguments of harness."""
    export(folder / "questions", "test", questions("test", count=64))
    build("llava", folder / "llava")
    picture = next((folder / "questions" / "images").rglob("*.png"))
    mini = ["eval", "--model", "phi-3.5", *MINI]
    return {
        "harness --help": ["--help"],
        "harness list models": ["list", "models"],
        "harness check": ["check", "llava"],
        "harness ask": ["ask", "-m", "llava", "-q", "What?", "--image", str(picture)],
        "harness eval --limit 1": [*mini, "--fresh"],
        "the same, finished": mini,
        "harness eval, 64 samples": [
            *("eval", "--model", "llava", "--task", "scienceqa", "--data", "questions"),
            *("--max-new-tokens", "8", "--fresh", "--json"),
        ],
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {
            title: cpu_seconds([sys.executable, "-c", code], folder)
            for title, code in IMPORTS.items()
        }
        for title, arguments in commands(folder).items():
            found[title] = cpu_seconds([HARNESS, *arguments], folder)
    found["one question beyond the model classes"] = round(
        found["harness eval --limit 1"] - found["import transformers' model classes"], 2
    )
    for title, seconds in found.items():
        print(f"{title:40} {seconds:6.2f}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
