"""easy-VQA, data that this project did not generate: a mini is trained on its train questions with
words as answers, and asked its test questions.

    pip install -e ".[easy-vqa]"
    python benchmarks/easy_vqa.py --folder runs/easy-vqa

The package (MIT, 3 MB) brings 38,575 questions on 4,000 pictures with one shape each, and 9,673 on
1,000 others; there are 13 answers, and three quarters are yes or no. --folder gets them as a data
folder, which `harness train` and `harness eval` read; what is in it already is not made again. The
last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from harness.core.environment import describe

PUBLISHED = (0.938, 0.995)
"""The accuracies that its author states."""
TASK = "gqa"
"""Asks for a word, and scores it by exact match."""
SPLITS = ("train", "test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/easy-vqa"))
    parser.add_argument("--base", default="moondream", help="the mini that is trained")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=0, help="train questions; 0: all")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    data = given.folder / "data"
    if not data.exists():
        write(data, package_data())
    before = cpu_minutes()
    train(given, data)
    minutes = cpu_minutes() - before
    student = given.folder / "runs" / "distill" / "easy-vqa" / "student"
    ask(student, given.folder / "test", data)
    report = {
        "what": "easy-VQA 1.0",
        "base": f"{given.base}-mini",
        "train questions": given.limit or len(lines(data / "train.jsonl")),
        "epochs": given.epochs,
        "learning rate": given.learning_rate,
        "seed": given.seed,
        "CPU minutes of training": round(minutes, 1),
        "the most frequent answer of each question": majority(data),
        "exact match": exact_match(given.folder / "test"),
        "published": PUBLISHED,
        "machine": describe("cpu"),
        "date": time.strftime("%Y-%m-%d"),
    }
    if given.out:
        given.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


def package_data() -> Path:
    """The folder of the package's data. Its code is not imported: this file has its name."""
    try:
        return Path(str(distribution("easy-vqa").locate_file("easy_vqa/data")))
    except PackageNotFoundError:
        sys.exit("easy-vqa is not installed: pip install -e '.[easy-vqa]'")


def write(data: Path, source: Path) -> None:
    """The package's questions as a data folder: SPLIT.jsonl, and images/SPLIT/NUMBER.png."""
    aside = data.with_name(f"{data.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for split in SPLITS:
        shutil.copytree(source / split / "images", aside / "images" / split)
        questions = json.loads((source / split / "questions.json").read_text(encoding="utf-8"))
        rows = [
            {
                "id": f"{split}-{number}",
                "question": question,
                "answer": answer,
                "image": f"images/{split}/{image}.png",
                "group": str(image),
                "topic": topic(answer),
            }
            for number, (question, answer, image) in enumerate(questions)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (aside / f"{split}.jsonl").write_text(text, encoding="utf-8")
    aside.rename(data)


def topic(answer: str) -> str:
    """What kind of answer is asked for."""
    if answer in {"yes", "no"}:
        return "yes or no"
    return "shape" if answer in {"circle", "rectangle", "triangle"} else "colour"


def train(given: argparse.Namespace, data: Path) -> None:
    harness(
        *("train", "--task", TASK, "--data", data, "--base", given.base, "--size", "mini"),
        *("--preset", "miniature", "--epochs", given.epochs, "--seed", given.seed),
        *("--learning-rate", given.learning_rate, "--limit", given.limit),
        *("--train-parts", "vision,projector,language", "--device", "cpu"),
        *("--runs", given.folder / "runs", "--name", "easy-vqa"),
    )


def ask(student: Path, runs: Path, data: Path) -> None:
    harness(
        *("eval", "--model", student, "--task", TASK, "--data", data, "--split", "test"),
        *("--device", "cpu", "--batch-size", 64, "--runs", runs, "--max-new-tokens", 8),
    )


def harness(*arguments: object) -> None:
    subprocess.run([sys.executable, "-P", "-m", "harness", *map(str, arguments)], check=True)


def cpu_minutes() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (spent.ru_utime + spent.ru_stime) / 60


def exact_match(runs: Path) -> Mapping[str, Any]:
    """Of all test questions, and by the kind of answer: value, low, high and n."""
    (path,) = (runs / TASK).glob("*/test/run.json")
    metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    return {
        key: [value["value"], value["low"], value["high"], value["n"]]
        for key, value in metrics.items()
        if key.startswith("exact_match")
    }


def majority(data: Path) -> float:
    """The accuracy of giving each question the answer that its text has most often in train."""
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in lines(data / "train.jsonl"):
        seen[row["question"]][row["answer"]] += 1
    asked = lines(data / "test.jsonl")
    guesses = [seen[row["question"]].most_common(1) for row in asked]
    return sum(
        bool(guess) and guess[0][0] == row["answer"]
        for guess, row in zip(guesses, asked, strict=True)
    ) / len(asked)


def lines(path: Path) -> Sequence[Mapping[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
