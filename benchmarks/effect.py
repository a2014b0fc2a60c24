"""What structured rationales are worth to a miniature student, with answers alone as the control.

    python benchmarks/effect.py --seeds 0 1 2 --out benchmarks/effect.json
    python benchmarks/effect.py --split validation --seeds 0 --set learning_rate=2e-3 ...
    python benchmarks/effect.py --student phi-3.5 --until captions --folder runs/effect-phi-3.5 \
        --out benchmarks/effect-phi-3.5.json

The student before training, taught answers alone for as many steps and for as many tokens, and
taught the teacher's rationales; the same questions in the same order. Settings are chosen with
--split validation; the test split is for one run with all seeds. The last line of stdout is one
JSON document.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from distill import pipeline
from distill.layout import LOG, folder_of
from distill.pipeline import Plan
from harness.core.environment import describe
from harness.core.files.atomic import temporary_folder
from harness.core.options import ModelOptions, RunOptions
from harness.core.types import DataOptions, Prediction
from harness.metrics.statistics import mcnemar, paired_difference, wilson
from harness.mini import distillation
from harness.mini.build import training_questions, write_mark
from harness.mini.pretraining import pretrain
from harness.mini.recipes import RECIPES
from harness.run.evaluate import evaluate
from harness.run.folder import RunFolder
from harness.run.task_data import Data
from harness.sources.weights import Weights
from harness.synthetic.questions import parse_id
from tasks import load_task

STEPS, COMPUTE = "-answers-equal-steps", "-answers-equal-compute"
SHARED = ("rationales.jsonl", "rejected.jsonl", "attempts.jsonl", "rationales.json")
PARTS = {"all": (1, 2, 3), "one step": (1,), "several steps": (2, 3)}


def pairs(texts: Sequence[str]) -> dict[str, Any]:
    return {key: json.loads(value) for key, value in (text.split("=", 1) for text in texts)}


def main() -> None:
    arguments = parsed()
    data = Data(load_task(distillation.TASK), DataOptions(split=arguments.split))
    found: dict[str, list[list[Prediction]]] = {}
    spent: dict[str, dict[str, list[float]]] = {"seconds": {}, "tokens": {}}
    base = student_before(arguments)
    how = RunOptions(runs=arguments.folder / "runs", limit=arguments.limit, batch_size=64)
    before = evaluate(Weights(base), data, how)
    found["before"] = [RunFolder(before.folder).read_predictions()] * len(arguments.seeds)
    for seed in arguments.seeds:
        plan = plan_of(arguments, base, seed)
        first = folder_of(plan.workspace.runs, f"seed-{arguments.seeds[0]}")
        own = plan.workspace.folder
        if own != first and not own.exists():
            own.mkdir(parents=True)
            for name in SHARED:  # the teacher is the same
                shutil.copyfile(first / name, own / name)
        outcome = pipeline.distill(plan)
        for run, (name, folder) in zip(outcome.runs, outcome.students.items(), strict=True):
            label = name.removeprefix(plan.workspace.name).removeprefix("-") or "structured"
            found.setdefault(label, []).append(RunFolder(run.folder).read_predictions())
            steps = [json.loads(step) for step in (folder.parent / LOG).read_text().splitlines()]
            for what, by_label in spent.items():
                by_label.setdefault(label, []).append(round(sum(s[what] for s in steps), 1))
    report = {
        "what": "scienceqa-mini, mini (synthetic)",
        "student": arguments.student,
        "until": arguments.until,
        "split": arguments.split,
        "seeds": arguments.seeds,
        "config": plan.training.config.to_json(),
        "controls": {name[1:]: config.to_json() for name, config in plan.training.controls.items()},
        "rationales": json.loads((first / "rationales.json").read_text())["counts"],
        **{f"training_{what}": by_label for what, by_label in spent.items()},
        "accuracy": {part: accuracies(found, steps) for part, steps in PARTS.items()},
        "differences": {part: differences(found, steps) for part, steps in PARTS.items()},
        "machine": describe("cpu"),
        "date": time.strftime("%Y-%m-%d"),
    }
    show(report)
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--student", default=distillation.STUDENT, help="a mini")
    parser.add_argument(
        "--until", metavar="STAGE", help="the student as that stage of its recipe leaves it"
    )
    parser.add_argument("--keep", type=Path, help="what `harness mini pretrain --keep` left")
    parser.add_argument("--split", default="test")
    parser.add_argument("--folder", type=Path, default=Path("runs/effect"))
    parser.add_argument("--set", nargs="*", default=[], help="FIELD=VALUE of the student's config")
    parser.add_argument("--control-set", nargs="*", default=[], help="the same of both controls")
    parser.add_argument("--samples", type=int, help="questions that the teacher is asked")
    parser.add_argument("--limit", type=int, help="questions that the students are asked")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def plan_of(arguments: argparse.Namespace, base: ModelOptions, seed: int) -> Plan:
    """The distillation with a seed, and both controls."""
    plan = distillation.plan(
        arguments.folder,
        name=f"seed-{seed}",
        samples=arguments.samples,
        seed=seed,
        split=arguments.split,
        limit=arguments.limit,
        command=("python", "benchmarks/effect.py"),
    )
    config = replace(plan.training.config, **pairs(arguments.set))
    answers, own = distillation.answers_only(config), pairs(arguments.control_set)
    controls = {
        STEPS: answers.with_objective("answer", **{**own, "epochs": config.epochs}),
        COMPUTE: answers.with_objective("answer", **own),
    }
    return replace(
        plan,
        training=replace(plan.training, base=base, config=config, controls=controls),
        evaluation=replace(plan.evaluation, max_new_tokens=config.max_new_tokens),
    )


def student_before(arguments: argparse.Namespace) -> ModelOptions:
    """The student before its distillation: the shipped mini or, trained here, what a stage of its
    recipe leaves."""
    shipped = ModelOptions(model=arguments.student, size="mini", device="cpu", dtype="float32")
    if arguments.until is None:
        return shipped
    folder: Path = arguments.folder / f"{arguments.student}-{arguments.until}"
    if not folder.exists():
        stages = RECIPES[arguments.student].stages
        number = 1 + [stage.name for stage in stages].index(arguments.until)
        with temporary_folder(folder) as aside:
            made = aside / "checkpoint"
            pretrain(
                arguments.student,
                made,
                questions=training_questions(),
                stages=stages[:number],
                keep=arguments.keep,
            )
            write_mark(made, arguments.student)
            made.rename(folder)
    return replace(shipped, model=str(folder), size="full")


def of(predictions: Sequence[Prediction], steps: Sequence[int]) -> dict[str, bool]:
    """Id -> whether it was answered rightly, of the questions with so many steps."""
    return {
        p.sample_id: bool(p.correct)
        for p in predictions
        if (known := parse_id(p.sample_id)) and known.steps in steps
    }


def accuracies(
    found: Mapping[str, Sequence[Sequence[Prediction]]], steps: Sequence[int]
) -> dict[str, Any]:
    """Condition -> its accuracy and interval with each seed."""
    rows: dict[str, Any] = {}
    for label, runs in found.items():
        rows[label] = []
        for predictions in runs:
            right = of(predictions, steps)
            low, high = wilson(sum(right.values()), len(right))
            rows[label].append({
                "value": sum(right.values()) / len(right), "low": low, "high": high, "n": len(right)
            })  # fmt: skip
    return rows


def differences(
    found: Mapping[str, Sequence[Sequence[Prediction]]], steps: Sequence[int]
) -> list[dict[str, Any]]:
    """Structured against each other condition: exact McNemar by seed; over all seeds together the
    mean difference, with an interval from standard errors clustered by question."""
    rows = []
    for label in found:
        if label == "structured":
            continue
        firsts, seconds, ids, tests = [], [], [], []
        for one, two in zip(found[label], found["structured"], strict=True):
            a, b = of(one, steps), of(two, steps)
            both = list(zip(a.values(), (b[key] for key in a), strict=True))
            losses, gains = both.count((True, False)), both.count((False, True))
            tests.append({"only_first": losses, "only_second": gains, "p": mcnemar(losses, gains)})
            firsts += a.values()
            seconds += (b[key] for key in a)
            ids += a
        pooled = paired_difference(firsts, seconds, ids)
        rows.append({"first": label, "second": "structured", "seeds": tests, **asdict(pooled)})
    return rows


def show(report: Mapping[str, Any]) -> None:
    for part, rows in report["accuracy"].items():
        print(f"\n{part}, n {next(iter(rows.values()))[0]['n']}")
        for label, values in rows.items():
            each = "  ".join(f"{100 * v['value']:5.1f}" for v in values)
            mean = 100 * fmean(value["value"] for value in values)
            print(f"  {label:<26}{each}   mean {mean:.1f}")
        for row in report["differences"][part]:
            p = ", ".join(f"{t['p']:.2g}" for t in row["seeds"])
            print(
                f"  structured - {row['first']}: {100 * row['difference']:+.1f} points, "
                f"{100 * row['low']:.1f} to {100 * row['high']:.1f}; McNemar by seed {p}"
            )


if __name__ == "__main__":
    main()
