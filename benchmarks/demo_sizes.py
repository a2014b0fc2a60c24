"""How many rationales and steps the demo needs: the effect against both, as a curve.

    python benchmarks/demo_sizes.py --rationales demo/full/runs/distill/moondream-kd --out one.json
    python benchmarks/demo_sizes.py --draw one.json two.json --svg docs/demo-sizes.svg

The teacher's rationales of all training questions are there already, of `harness demo --full`; a
student learns those of the first of them, a control the answers to the same questions for as much
time. Sizes are chosen on validation. Trainings and answers that are there are used as they are. The
last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from distill.evaluation import evaluate_student
from distill.layout import ATTEMPTS, LOG, RATIONALES, folder_of
from distill.objectives import objective_of
from distill.pipeline import Plan
from distill.rationales.collect import collect_rationales
from distill.rationales.kept import load_examples
from distill.training.students import train_student
from harness.core.environment import describe
from harness.core.types import Prediction
from harness.metrics.statistics import mcnemar
from harness.mini import distillation
from harness.run.folder import RunFolder
from harness.synthetic.questions import parse_id

STRUCTURED, ANSWERS = "rationales", "answers alone"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--rationales", type=Path, help="folder of a distillation")
    way.add_argument("--draw", type=Path, nargs="+", help="reports to draw, instead of measuring")
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000, 2000, 4000])
    parser.add_argument("--epochs", type=int, nargs="+", default=[3])
    parser.add_argument("--batch", type=int, nargs="+", default=[8], help="examples of a step")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--split", default="validation")
    parser.add_argument("--no-control", action="store_true", help="train the students alone")
    parser.add_argument("--folder", type=Path, default=Path("runs/demo-sizes"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if arguments.draw:
        reports = [json.loads(path.read_text()) for path in arguments.draw]
        rows = sorted((row for each in reports for row in each["rows"]), key=lambda r: r["asked"])
        report = {**reports[0], "rows": rows}
        write(arguments, report)
        print(json.dumps(report))
        return
    points = product(arguments.seeds, arguments.epochs, arguments.batch, arguments.sizes)
    for seed, epochs, batch, size in points:
        plan = distillation.plan(
            arguments.folder,
            name=f"{size}-{epochs}-{batch}-seed-{seed}",
            samples=size,
            epochs=epochs,
            batch_size=batch,
            seed=seed,
            split=arguments.split,
            control=not arguments.no_control,
            command=("python", "benchmarks/demo_sizes.py"),
        )
        select(arguments.rationales, plan)
        sizes = {"asked": size, "epochs": epochs, "batch": batch, "seed": seed}
        rows.append({**sizes, **measured(plan)})
        report = {
            "what": "scienceqa-mini, mini (synthetic)",
            "split": arguments.split,
            "rows": rows,
            "machine": describe("cpu"),
            "date": time.strftime("%Y-%m-%d"),
        }
        write(arguments, report)  # after each point: all of them take long
    print(json.dumps(report))


def write(arguments: argparse.Namespace, report: Mapping[str, Any]) -> None:
    """Write the report and its picture where they are wanted."""
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    if arguments.svg:
        arguments.svg.write_text(picture(report["rows"]))


def select(there: Path, plan: Plan) -> None:
    """Give a distillation the attempts at its questions, as if its teacher had been asked no
    others."""
    own = plan.workspace.folder
    if (own / ATTEMPTS).exists():
        return
    own.mkdir(parents=True, exist_ok=True)
    wanted = {sample.id for sample in plan.questions.selected()}
    lines = (there / ATTEMPTS).read_text().splitlines(keepends=True)
    (own / ATTEMPTS).write_text("".join(x for x in lines if json.loads(x)["id"] in wanted))
    shutil.copyfile(there / RATIONALES, own / RATIONALES)


def measured(plan: Plan) -> dict[str, Any]:
    """The student and its control: steps, CPU seconds of training and accuracy of each, and their
    difference."""
    workspace, questions, training = plan.workspace, plan.questions, plan.training
    counts = collect_rationales(workspace, questions, plan.teaching)["counts"]
    examples = load_examples(workspace, questions, objective=plan.objective)
    found: dict[str, Any] = {"kept": counts["kept"]}
    answers = {}
    students = {"": STRUCTURED, **dict.fromkeys(training.controls, ANSWERS)}
    for suffix, label in students.items():
        home = folder_of(workspace.runs, workspace.name + suffix)
        resumed, started = (home / LOG).exists(), time.process_time()
        student = train_student(workspace, questions, training, examples=examples, suffix=suffix)
        seconds = None if resumed else round(time.process_time() - started, 1)
        run = evaluate_student(
            workspace,
            plan.test,
            plan.evaluation,
            folder=student,
            objective=objective_of(training.config_of(suffix)),
            suffix=suffix,
        )
        answers[label] = RunFolder(run.folder).read_predictions()
        log = [json.loads(line) for line in (home / LOG).read_text().splitlines()]
        found[label] = {
            "steps": len(log),
            "cpu_seconds": seconds,
            **accuracies(answers[label]),
        }
    if ANSWERS not in answers:
        return found
    pairs = zip(answers[ANSWERS], answers[STRUCTURED], strict=True)
    outcomes = [(bool(control.correct), bool(student.correct)) for control, student in pairs]
    losses, gains = outcomes.count((True, False)), outcomes.count((False, True))
    found["difference"] = (gains - losses) / len(outcomes)
    found["p"] = mcnemar(losses, gains)
    return found


def accuracies(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Over all questions, and over those of several steps."""
    right = {p.sample_id: bool(p.correct) for p in predictions}
    several = [
        value for key, value in right.items() if (known := parse_id(key)) and known.steps > 1
    ]
    return {"all": fmean(right.values()), "several steps": fmean(several)}


WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640, 300, 56, 24, 48
COLOURS = {STRUCTURED: "#1f6fb2", ANSWERS: "#b2621f"}


def picture(rows: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy against the steps of the student, as SVG: a point for each seed, a line through the
    means of those that learn from as many questions. The control stands at the steps of the student
    whose time it has."""
    steps = [row[STRUCTURED]["steps"] for row in rows]
    largest = max(steps)

    def x(value: float) -> float:
        return LEFT + value / largest * (WIDTH - LEFT - 120)

    def y(share: float) -> float:
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)

    parts = list(_axes(sorted({(row[STRUCTURED]["steps"], row["asked"]) for row in rows}), x, y))
    for label, colour in COLOURS.items():
        there = [row for row in rows if label in row]
        means: dict[int, list[tuple[float, float]]] = {}
        for value, asked in sorted({(row[STRUCTURED]["steps"], row["asked"]) for row in there}):
            same = (
                row for row in there if (row[STRUCTURED]["steps"], row["asked"]) == (value, asked)
            )
            shares = [row[label]["all"] for row in same]
            means.setdefault(asked, []).append((x(value), y(fmean(shares))))
            parts += [
                f'<circle cx="{x(value):.1f}" cy="{y(share):.1f}" r="3" fill="{colour}"/>'
                for share in shares
            ]
        for line in means.values():
            joined = " ".join(f"{a:.1f},{b:.1f}" for a, b in line)
            parts.append(
                f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>'
            )
        at, height = max((each[-1] for each in means.values()), default=(x(0), y(0)))
        parts.append(f'<text x="{at + 8:.1f}" y="{height + 4:.1f}" fill="{colour}">{label}</text>')
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" role="img">\n'
        "<title>Accuracy of the student against steps of training, mini (synthetic)</title>\n"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _axes(steps: Sequence[tuple[int, int]], x: Any, y: Any) -> Iterator[str]:
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        yield f'<path d="M{LEFT} {y(share):.1f}H{WIDTH - 120}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>'
    for value, asked in steps:
        for text, below in ((f"{value}", 16), (f"{asked:,}", 32)):
            place = f'x="{x(value):.1f}" y="{y(0) + below:.1f}"'
            yield f'<text {place} text-anchor="middle">{text}</text>'
    for text, below in (("steps", 16), ("asked", 32)):
        yield f'<text x="{LEFT - 8}" y="{y(0) + below:.1f}" text-anchor="end">{text}</text>'


if __name__ == "__main__":
    main()
