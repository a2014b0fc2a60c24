"""Which rationales, which objective and which remedy make the better miniature student.

    python benchmarks/selection.py --seeds 0 1 2 --out benchmarks/selection.json
    python benchmarks/selection.py --prepare                              # the teacher's part alone
    python benchmarks/selection.py --seeds 1 --only structured conclude     # a part, to be resumed
    python benchmarks/selection.py --gather --docs docs/miniature.md        # its tables

The teacher makes several attempts at each question once; every condition chooses among them,
trains a student of its own for each seed, in a folder of its own, and asks it the same test
questions. What is there is not done again, and the same command can run in several processes at
once: each takes what no other has begun. A condition that a seed lacks is left out of the tables,
and named. The last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from selection_conditions import CONDITIONS, TEMPERATURE, VOTES
from selection_students import ASKED, SCORER, Sizes, Students
from selection_tables import between_seeds, markdown, markdown_kept, put_into, share, tables

from distill.rationales.attempts import Work
from distill.rationales.selection import METHODS
from distill.training.students import find_base
from harness.core.environment import describe
from harness.mini import distillation
from harness.sources.weights import Weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=list(CONDITIONS), choices=list(CONDITIONS))
    parser.add_argument("--folder", type=Path, default=Path("runs/selection"))
    parser.add_argument("--samples", type=int, default=1050, help="questions for the teacher")
    parser.add_argument("--limit", type=int, help="questions that the students are asked")
    parser.add_argument("--vote-limit", type=int, help="questions that are voted on")
    parser.add_argument("--split", default="test")
    parser.add_argument("--on-policy", type=int, default=280, help="its questions")
    parser.add_argument(
        "--set", nargs="*", default=[], help="FIELD=VALUE of every student's config"
    )
    parser.add_argument("--prepare", action="store_true", help="only what needs the teacher")
    parser.add_argument("--gather", action="store_true", help="only put together what is there")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--docs", type=Path, help="page whose tables are replaced")
    arguments = parser.parse_args()
    sizes = Sizes(
        samples=arguments.samples,
        limit=arguments.limit,
        vote_limit=arguments.vote_limit,
        on_policy=arguments.on_policy,
        split=arguments.split,
    )
    given = dict(text.split("=", 1) for text in arguments.set)
    settings = {key: json.loads(value) for key, value in given.items()}
    students = Students(arguments.folder, sizes, settings)
    if arguments.prepare:
        students.prepare(arguments.only)
        return
    if not arguments.gather:
        students.begin()
        for wait in (False, True):  # for what another process has begun
            for name in arguments.only:
                for seed in arguments.seeds:
                    students.make(name, seed, wait=wait)
    report = report_of(students, arguments.seeds)
    show(report)
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    if arguments.docs:
        put_into(arguments.docs, report)
    print(json.dumps(report))


def report_of(students: Students, seeds: list[int]) -> dict[str, Any]:
    """All figures of the conditions that every seed has."""
    answers = {name: runs for name in CONDITIONS if (runs := students.answers(name, seeds))}
    found = tables(answers, {name: students.training(name, seeds) for name in answers})
    plan, sizes = students.plan, students.sizes
    return {
        "what": "scienceqa-mini, mini (synthetic)",
        "split": sizes.split,
        "seeds": seeds,
        "questions": sizes.samples,
        "attempts": ASKED,
        "votes": {"answers": VOTES, "temperature": TEMPERATURE, "questions": sizes.vote_limit},
        "on_policy": sizes.on_policy,
        "scorer": SCORER,
        "kept": kept(students),
        "tables": found,
        "between_seeds": between_seeds(found),
        "logits_cpu_seconds": students.logits_seconds(),
        "left_out": [name for name in CONDITIONS if name not in answers],
        "config": students.config(CONDITIONS["structured"], seeds[0]).to_json(),
        "base": Weights(replace(plan.training.base)).weights_hash,
        "base_name": find_base(plan.training).name,
        "machine": describe("cpu"),
        "date": time.strftime("%Y-%m-%d"),
    }


def kept(students: Students) -> dict[str, Any]:
    """Method -> what it keeps of the attempts, whatever they conclude: how many conclude and reason
    rightly, and their words."""
    plan = students.plan
    options = students.options({"keep": "format"})
    work = Work(plan.workspace, plan.questions, options, teachers=(distillation.TEACHER,))
    work.open()
    found: dict[str, Any] = {}
    for method in METHODS:
        work.judge.options = replace(options, choose=method)
        if METHODS[method].scored_by_model and not work.judge.gains:
            continue
        verdicts = [(sample, work.verdict(sample).kept) for sample in work.selected]
        measures = [work.judge.quality(s, attempt) for s, attempt in verdicts if attempt]
        right = sum(bool(each.conclusion_right) for each in measures)
        reasoned = sum(bool(each.reasoning_right) for each in measures)
        found[method] = {
            "kept": len(measures),
            "conclusion_right": share(right, len(measures)),
            "reasoning_right": share(reasoned, len(measures)),
            "words": fmean(each.words for each in measures),
        }
    return found


def show(report: dict[str, Any]) -> None:
    for line in [*markdown_kept(report), "", *markdown(report)]:
        print(line)
    if report["left_out"]:
        print(f"not run: {', '.join(report['left_out'])}")


if __name__ == "__main__":
    main()
