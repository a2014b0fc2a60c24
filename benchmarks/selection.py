"""Which rationales, which objective and which remedy make the better miniature student.

    python benchmarks/selection.py --seeds 0 1 2 --out benchmarks/selection.json
    python benchmarks/selection.py --seeds 1 --only structured conclude     # a part, to be resumed
    python benchmarks/selection.py --gather --docs docs/miniature.md        # its tables

The teacher makes several attempts at each question once; every condition chooses among them,
trains a student of its own for each seed, in a folder of its own, and asks it the same test
questions. What is there is not done again, so that parts can be run one by one or at once, a seed
in a process; the last call, with all seeds, puts them together. A condition that a seed lacks is
left out and named. The last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from distill.config import DistillConfig
from distill.evaluation import evaluate_student
from distill.examples import Example
from distill.layout import LOG, STUDENT, TRAINING, Workspace
from distill.objectives import objective_of
from distill.options import RationaleOptions
from distill.pipeline import Plan
from distill.quality.answers import reasoning_to_error
from distill.rationales.attempts import Work
from distill.rationales.collect import collect_rationales
from distill.rationales.kept import load_examples
from distill.rationales.logit_collection import collect_logits
from distill.rationales.selection import METHODS
from distill.rationales.teacher_scores import TeacherScores
from distill.training.students import find_base
from distill.training.train import train
from harness.core.environment import describe
from harness.core.files.json_files import write_json
from harness.core.options import GenerationOptions, ModelOptions, RunOptions
from harness.core.types import Decoding, Output, Prediction
from harness.metrics.statistics import mcnemar, paired_difference, wilson
from harness.mini import distillation
from harness.run.conclusions import conclude
from harness.run.evaluate import evaluate
from harness.run.folder import RunFolder
from harness.run.prompting import Prompter, PromptSettings
from harness.run.runner import CONCLUDED
from harness.run.shuffling import extract_answer
from harness.sources.weights import Weights

ATTEMPTS = 4
VOTES, TEMPERATURE = 5, 0.7
SHARED = ("attempts.jsonl", "gains.jsonl", "rationales.json")


@dataclass(frozen=True, kw_only=True)
class Condition:
    """How a student is made, and asked."""

    tables: str
    """The tables that it is a row of: s, election of attempts; o, bjectives; r, emedies."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the choice among the attempts."""
    config: Mapping[str, Any] = field(default_factory=dict)
    of: str = ""
    """The condition whose student is asked in another way, or goes on learning."""
    generation: Mapping[str, Any] = field(default_factory=dict)
    """How it is asked."""


ONE = {"attempts": 1, "choose": "first"}
"""The greedy attempt alone, as in the experiment of benchmarks/effect.py."""
ANY = {"keep": "format"}
CONDITIONS: Mapping[str, Condition] = {
    "structured": Condition(tables="sor", options=ONE),
    "first": Condition(tables="sr", options={**ANY, "choose": "first"}),
    "consistency": Condition(tables="s", options={**ANY, "choose": "consistency"}),
    "agreement": Condition(tables="s", options={**ANY, "choose": "agreement"}),
    "gain": Condition(tables="s", options={**ANY, "choose": "gain"}),
    "shortest": Condition(tables="s", options={**ANY, "choose": "shortest"}),
    "longest": Condition(tables="s", options={**ANY, "choose": "longest"}),
    "best": Condition(tables="s", options={**ANY, "choose": "best"}),
    "agrees, first": Condition(tables="s", options={"choose": "first"}),
    "answer": Condition(tables="o", options=ONE, config={"objective": "answer"}),
    "multitask": Condition(tables="o", options=ONE, config={"objective": "multitask"}),
    "logits": Condition(tables="o", options=ONE, config={"objective": "logits"}),
    "on-policy": Condition(
        tables="o", options=ONE, of="structured",
        config={"objective": "on-policy", "epochs": 1, "learning_rate": 2e-4},
    ),
    "coherent": Condition(tables="r", options={**ONE, "keep": "coherent"}),
    "weight 4": Condition(tables="r", options=ONE, config={"conclusion_weight": 4.0}),
    "options repeated": Condition(tables="r", options=ONE, config={"repeat_options": True}),
    "conclude": Condition(tables="r", of="structured", generation={"conclude": True}),
    "votes": Condition(
        tables="r", of="structured", generation={"votes": VOTES, "temperature": TEMPERATURE}
    ),
}  # fmt: skip
BEGIN, END = "<!-- selection -->", "<!-- end of selection -->"
"""Marks around the tables of a page."""
AGAINST = {"s": "first", "o": "answer", "r": "structured"}
"""The condition that the others of a table are compared with."""
TITLES = {"s": "selection", "o": "objectives", "r": "remedies"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=list(CONDITIONS), choices=list(CONDITIONS))
    parser.add_argument("--folder", type=Path, default=Path("runs/selection"))
    parser.add_argument("--samples", type=int, default=2100, help="questions for the teacher")
    parser.add_argument("--limit", type=int, help="questions that the students are asked")
    parser.add_argument("--vote-limit", type=int, help="questions that are voted on")
    parser.add_argument("--split", default="test")
    parser.add_argument("--on-policy", type=int, default=320, help="its questions")
    parser.add_argument(
        "--set", nargs="*", default=[], help="FIELD=VALUE of every student's config"
    )
    parser.add_argument("--gather", action="store_true", help="only put together what is there")
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--kept", type=int, default=0, help="questions of which to show what each method keeps"
    )
    parser.add_argument("--docs", type=Path, help="page whose tables are replaced")
    arguments = parser.parse_args()
    made = Made(arguments)
    if not arguments.gather:
        for name in arguments.only:
            made.attempts(scored=name == "gain")
            for seed in arguments.seeds:
                made.make(name, seed)
    report = made.report()
    if arguments.kept:
        report["kept"] = {"questions": arguments.kept, "methods": made.kept(arguments.kept)}
    show(report)
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    if arguments.docs:
        put_into(arguments.docs, report)
    print(json.dumps(report))


class Made:
    """What was made in the folder, and how the rest is."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.folder: Path = arguments.folder
        self.plan: Plan = distillation.plan(
            self.folder,
            name="attempts",
            samples=arguments.samples,
            split=arguments.split,
            limit=arguments.limit,
            control=False,
            command=("python", "benchmarks/selection.py"),
        )

    def attempts(self, *, scored: bool) -> None:
        """Let the teacher write what all conditions choose from, and score it where one needs
        that."""
        folder = self.plan.workspace.folder
        if scored or not (folder / "attempts.jsonl").exists():
            self.choose(self.plan.workspace, {**ANY, "choose": "gain" if scored else "best"})

    def choose(self, workspace: Workspace, options: Mapping[str, Any]) -> list[Example]:
        """The examples of a condition."""
        given: dict[str, Any] = {"attempts": ATTEMPTS, **options}
        asked: RationaleOptions = replace(self.plan.teaching.options, **given)
        teaching = replace(self.plan.teaching, options=asked)
        collect_rationales(workspace, self.plan.questions, teaching)
        return load_examples(workspace, self.plan.questions)

    def workspace(self, name: str, seed: int) -> Workspace:
        return replace(
            self.plan.workspace, name=f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
        )

    def make(self, name: str, seed: int) -> None:
        """Train the student of a condition, if it has one of its own, and ask it."""
        condition = CONDITIONS[name]
        if (self.workspace(name, seed).folder / "done.json").exists():
            return
        print(f"{time.strftime('%H:%M:%S')} {name}, seed {seed}", flush=True)
        if condition.of and not condition.config:
            student = self.workspace(condition.of, seed).folder / STUDENT
            self.ask_otherwise(name, seed, student)
            return
        workspace, config = self.workspace(name, seed), self.config(condition, seed)
        shared = self.plan.workspace.folder
        if not (workspace.folder / "attempts.jsonl").exists():
            workspace.folder.mkdir(parents=True, exist_ok=True)
            for file in SHARED:
                if (shared / file).exists():
                    shutil.copyfile(shared / file, workspace.folder / file)
        examples = self.choose(workspace, condition.options)
        base = find_base(self.plan.training).folder
        scores = None
        objective = objective_of(config)
        if objective.top_logits:
            collect_logits(
                workspace, self.plan.questions, self.plan.teaching, base=base, objective=objective
            )
            examples = load_examples(workspace, self.plan.questions, objective=objective)
        if objective.sampling:
            base = self.workspace(condition.of, seed).folder / STUDENT
            scores = TeacherScores(self.plan.teaching, self.plan.questions, base)
            examples = examples[: self.arguments.on_policy]
        student = train(
            examples,
            base=base,
            out=workspace.folder,
            config=config,
            task=self.plan.questions.data.task,
            features=self.folder / f"features-{seed}",
            scores=scores,
        )
        evaluate_student(
            workspace, self.plan.test, self.plan.evaluation, folder=student, objective=objective
        )
        write_json(workspace.folder / "done.json", {"examples": len(examples)})

    def config(self, condition: Condition, seed: int) -> DistillConfig:
        given = dict(text.split("=", 1) for text in self.arguments.set)
        own = {key: json.loads(value) for key, value in given.items()}
        config = replace(self.plan.training.config, **own, seed=seed)
        changes = dict(condition.config)
        objective = changes.pop("objective", "")
        if objective == "answer":
            return distillation.answers_only(config)  # as long in time
        if objective:
            return config.with_objective(objective, **changes)
        return replace(config, **changes)

    def ask_otherwise(self, name: str, seed: int, student: Path) -> None:
        """Ask the student of another condition in this one's way."""
        workspace = self.workspace(name, seed)
        model = ModelOptions(
            model=distillation.DISTILLED, weights=str(student), name=workspace.name,
            runs=workspace.runs, device="cpu", dtype="float32",
        )  # fmt: skip
        evaluation = self.plan.evaluation
        if name == "conclude":
            self.conclude(workspace, self.workspace(CONDITIONS[name].of, seed), Weights(model))
            return
        how = RunOptions(
            runs=workspace.runs,
            limit=self.arguments.vote_limit if name == "votes" else evaluation.limit,
            batch_size=evaluation.batch_size,
            seed=seed,
            generation=GenerationOptions(
                max_new_tokens=evaluation.max_new_tokens, **CONDITIONS[name].generation
            ),
            command=workspace.command,
        )
        evaluate(Weights(model), self.plan.test, how)
        workspace.folder.mkdir(parents=True, exist_ok=True)
        write_json(workspace.folder / "done.json", {})

    def conclude(self, workspace: Workspace, before: Workspace, source: Weights) -> None:
        """Choose the conclusions of the answers that are there by likelihood, as --conclude does
        after writing the very same."""
        data, task = self.plan.test, self.plan.test.task
        samples = {sample.id: sample for sample in data.samples.samples}
        answered = self.folder_of(before).read_predictions()
        model = source.load()
        prompter = Prompter(
            model,
            task,
            settings=PromptSettings(style="structured", conclude=True),
            decoding=Decoding(max_new_tokens=self.plan.evaluation.max_new_tokens),
            digests=data.digests,
        )
        made: list[Prediction] = []
        for start in range(0, len(answered), 64):
            batch = answered[start : start + 64]
            outputs = [Output(p.raw, p.prompt, p.tokens_in, p.tokens) for p in batch]
            asked = [(samples[p.sample_id], o, 0) for p, o in zip(batch, outputs, strict=True)]
            for p, output in zip(batch, conclude(model, prompter, asked), strict=True):
                if not output.concluded:
                    made.append(p)
                    continue
                found = extract_answer(task.extract, output.concluded, p.choices)
                made.append(replace(p, answer=found.answer, rule=CONCLUDED))
        self.folder_of(workspace).rewrite(made)
        workspace.folder.mkdir(parents=True, exist_ok=True)
        write_json(workspace.folder / "done.json", {})

    def folder_of(self, workspace: Workspace) -> RunFolder:
        return RunFolder.of(
            workspace.runs,
            task=distillation.TASK,
            model=workspace.name,
            split=self.arguments.split,
        )

    def answers(self, name: str) -> list[list[Prediction]]:
        """The answers of a condition, a list for each seed; empty where one is missing."""
        found = []
        for seed in self.arguments.seeds:
            workspace = self.workspace(name, seed)
            if not (workspace.folder / "done.json").exists():
                return []
            found.append(self.folder_of(workspace).read_predictions())
        return found

    def report(self) -> dict[str, Any]:
        """All figures of the conditions that every seed has."""
        found = {name: runs for name in CONDITIONS if (runs := self.answers(name))}
        tables = {}
        for letter, title in TITLES.items():
            names = [name for name in found if letter in CONDITIONS[name].tables]
            against = AGAINST[letter] if AGAINST[letter] in names else ""
            tables[title] = {
                name: {
                    **figures(found[name]),
                    **self.training(name),
                    "against": difference(found[against], found[name])
                    if against and name != against
                    else None,
                }
                for name in names
            }
        base = find_base(self.plan.training)
        return {
            "what": "scienceqa-mini, mini (synthetic)",
            "split": self.arguments.split,
            "seeds": self.arguments.seeds,
            "questions": self.arguments.samples,
            "attempts": ATTEMPTS,
            "votes": {"answers": VOTES, "temperature": TEMPERATURE},
            "against": {TITLES[letter]: name for letter, name in AGAINST.items()},
            "tables": tables,
            "left_out": [name for name in CONDITIONS if name not in found],
            "config": self.plan.training.config.to_json(),
            "base": Weights(replace(self.plan.training.base)).weights_hash,
            "base_name": base.name,
            "machine": describe("cpu"),
            "date": time.strftime("%Y-%m-%d"),
        }

    def kept(self, questions: int) -> dict[str, Any]:
        """Method -> what it keeps of the first questions' attempts, whatever they conclude: how
        many conclude and reason rightly, and their words. No student is trained."""
        chosen = replace(self.plan.questions, limit=questions)
        found: dict[str, Any] = {}
        given: dict[str, Any] = {**ANY, "attempts": ATTEMPTS}
        options: RationaleOptions = replace(self.plan.teaching.options, **given)
        work = Work(self.plan.workspace, chosen, options, teachers=(distillation.TEACHER,))
        work.open()
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

    def training(self, name: str) -> dict[str, Any]:
        """What the students of a condition learned from, and for how long."""
        condition = CONDITIONS[name]
        if condition.of and not condition.config:
            return {"examples": None, "steps": None, "seconds": None}
        steps, seconds, examples = [], [], []
        for seed in self.arguments.seeds:
            folder = self.workspace(name, seed).folder
            lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
            steps.append(len(lines))
            seconds.append(round(sum(line["seconds"] for line in lines), 1))
            examples.append(json.loads((folder / TRAINING).read_text())["counts"]["used"])
        return {"examples": examples, "steps": steps, "seconds": seconds}


def figures(runs: Sequence[Sequence[Prediction]]) -> dict[str, Any]:
    """Accuracy and reasoning-to-error, by seed and over all seeds together."""
    errors = [reasoning_to_error(predictions) for predictions in runs]
    right = [sum(bool(p.correct) for p in predictions) for predictions in runs]
    numbers = [len(predictions) for predictions in runs]
    return {
        "n": numbers,
        "accuracy": [share(k, n) for k, n in zip(right, numbers, strict=True)],
        "reasoning_to_error": [share(len(e.sample_ids), e.answers) for e in errors],
        "of_wrong": [share(len(e.sample_ids), e.with_reasoning) for e in errors],
    }


def share(count: int, of: int) -> dict[str, Any]:
    if not of:
        return {"value": None, "low": None, "high": None, "n": 0}
    low, high = wilson(count, of)
    return {"value": count / of, "low": low, "high": high, "n": of}


def difference(
    first: Sequence[Sequence[Prediction]], second: Sequence[Sequence[Prediction]]
) -> dict[str, Any]:
    """In accuracy, and in reasoning-to-error as a share of all answers: paired, over all seeds
    together, with intervals from standard errors clustered by question; an exact McNemar test of
    accuracy by seed."""
    tests, ids = [], []
    accuracy: tuple[list[bool], list[bool]] = ([], [])
    errors: tuple[list[bool], list[bool]] = ([], [])
    for one, two in zip(first, second, strict=True):
        both = (
            {p.sample_id: bool(p.correct) for p in one},
            {p.sample_id: bool(p.correct) for p in two},
        )
        wrong = [set(reasoning_to_error(each).sample_ids) for each in (one, two)]
        shared = [key for key in both[0] if key in both[1]]
        ids += shared
        for side in (0, 1):
            accuracy[side].extend(both[side][key] for key in shared)
            errors[side].extend(key in wrong[side] for key in shared)
        pairs = [(both[0][key], both[1][key]) for key in shared]
        losses, gains = pairs.count((True, False)), pairs.count((False, True))
        tests.append({"only_first": losses, "only_second": gains, "p": mcnemar(losses, gains)})
    return {
        "accuracy": asdict(paired_difference(*accuracy, ids)),
        "reasoning_to_error": asdict(paired_difference(*errors, ids)),
        "seeds": tests,
    }


WORDS: Mapping[str, str] = {
    "structured": "one attempt, `--filter agrees`: structured rationales",
    "first": "one attempt, whatever it concludes: `--filter format`",
    "agrees, first": "`first`, `--filter agrees`",
    "answer": "`answer`, as long in time",
    "coherent": "`--filter coherent` on one attempt",
    "weight 4": "`--stage-weight conclusion=4`",
    "options repeated": "`--repeat-options`",
    "conclude": "`--conclude`, when asked",
    "votes": f"`--votes {VOTES} --temperature {TEMPERATURE}`, when asked",
}
"""What a table calls a condition; another one by its name."""


def markdown(report: Mapping[str, Any]) -> list[str]:
    """The tables as docs/miniature.md has them, line by line."""
    lines = []
    for title, rows in report["tables"].items():
        if len(rows) < 2:
            continue
        first = report["against"][title]
        columns = (
            *(title, "rationales", "accuracy, %", "reasoning-to-error, %"),
            *(f"{what} against `{first}`" for what in ("accuracy", "reasoning-to-error")),
        )
        gap = [""] if lines else []
        lines += [*gap, f"| {' | '.join(columns)} |", "|---|---|---|---|---|---|"]
        for name, row in rows.items():
            examples = f"{round(fmean(row['examples'])):,}" if row["examples"] else ""
            cells = [
                WORDS.get(name, f"`{name}`"),
                examples,
                by_seed(row["accuracy"]),
                by_seed(row["reasoning_to_error"]),
                *(ends(row["against"], key) for key in ("accuracy", "reasoning_to_error")),
            ]
            lines.append("|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|")
    return lines


def markdown_kept(report: Mapping[str, Any]) -> list[str]:
    """What each method keeps, as docs/miniature.md has it."""
    if "kept" not in report:
        return []
    lines = [
        "| method | kept | of these conclude rightly, % | reason rightly, % | words |",
        "|---|---|---|---|---|",
    ]
    for name, row in report["kept"]["methods"].items():
        shares = [
            f"{100 * each['value']:.1f} ({100 * each['low']:.1f} to {100 * each['high']:.1f})"
            for each in (row["conclusion_right"], row["reasoning_right"])
        ]
        lines.append(f"| `{name}` | {row['kept']:,} | {' | '.join(shares)} | {row['words']:.1f} |")
    return lines


def put_into(page: Path, report: Mapping[str, Any]) -> None:
    """Replace the tables of a page, which stand between the marks."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(f"{BEGIN}\n")
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{page} has no {BEGIN} ... {END}.")
    kept = markdown_kept(report)
    tables = "\n".join([*kept, *([""] if kept else []), *markdown(report)])
    page.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}", encoding="utf-8")


def by_seed(values: Sequence[Mapping[str, Any]]) -> str:
    """The mean of the seeds and each, in percent."""
    known = [100 * each["value"] for each in values]
    return f"{fmean(known):.1f} ({', '.join(f'{value:.1f}' for value in known)})"


def ends(against: Mapping[str, Any] | None, key: str) -> str:
    """A paired difference with its interval, in points."""
    if against is None:
        return ""
    low, value, high = (
        f"{100 * against[key][name]:+.1f}" for name in ("low", "difference", "high")
    )
    return f"{value} ({low} to {high})"


def show(report: Mapping[str, Any]) -> None:
    for line in [*markdown_kept(report), *markdown(report)]:
        print(line)
    if report["left_out"]:
        print(f"not run: {', '.join(report['left_out'])}")


if __name__ == "__main__":
    main()
