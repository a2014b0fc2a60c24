"""The students of benchmarks/selection.py: what each learns, how it is trained, and its answers.

Whatever several conditions share (the teacher's attempts, its scores and logits, the choices among
the attempts, the features of the pictures) is made once. A student is made by the process that
holds its lock, so that several processes can work in one folder.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from selection_conditions import CHOICES, CONDITIONS, TRAINING, Condition

from distill.config import DistillConfig
from distill.evaluation import evaluate_student
from distill.examples import Example
from distill.layout import ATTEMPTS, CHECKPOINTS, GAINS, LOG, RATIONALES, STUDENT, Workspace
from distill.objectives import objective_of
from distill.objectives.objective import Objective
from distill.options import RationaleOptions
from distill.pipeline import Plan
from distill.rationales.collect import Teaching, collect_rationales
from distill.rationales.kept import load_examples
from distill.rationales.logit_collection import collect_logits
from distill.rationales.teacher_scores import TeacherScores
from distill.training.students import find_base
from distill.training.train import train
from harness.core.files.json_files import write_json
from harness.core.files.locks import InUse, locked
from harness.core.options import GenerationOptions, ModelOptions, RunOptions
from harness.core.types import Decoding, Output, Prediction
from harness.mini import distillation
from harness.run.conclusions import conclude
from harness.run.evaluate import evaluate
from harness.run.folder import RunFolder
from harness.run.prompting import Prompter, PromptSettings
from harness.run.runner import CONCLUDED
from harness.run.shuffling import extract_answer
from harness.sources.weights import Weights

ASKED = 4
"""Attempts at each question."""
ROWS = 256
"""Questions at once: sampled attempts depend on it."""
SCORER = "moondream-kd"
"""The teacher of logits and of the student's own answers: LLaVA-CoT-mini has other tokens than the
student."""
POOL = "attempts"
"""The distillation that all attempts are in."""
DONE = "done.json"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is asked."""

    samples: int
    """Questions for the teacher."""
    limit: int | None
    """Questions that the students are asked."""
    vote_limit: int | None
    """Questions that are voted on."""
    on_policy: int
    """Questions that are learned on-policy."""
    split: str


class Clock:
    """The CPU seconds of the stage `wanted`, given to `train` in place of a progress bar."""

    def __init__(self, wanted: str) -> None:
        self.seconds = 0.0
        self._wanted = wanted
        self._counts = False
        self._began = 0.0

    def __call__(self, label: str, *, total: int, done: int, unit: str = "") -> Self:
        del total, done, unit
        self._counts = label == self._wanted
        return self

    def __enter__(self) -> Self:
        self._began = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        if self._counts:
            self.seconds += time.process_time() - self._began

    def advance(self, count: int = 1, *, tokens: int = 0, loss: float | None = None) -> None:
        pass


class Students:
    """What was made in the folder, and how the rest is."""

    def __init__(self, folder: Path, sizes: Sizes, settings: Mapping[str, Any]) -> None:
        """`settings`: of every student's training, in addition to TRAINING."""
        self.folder = folder
        self.sizes = sizes
        self._settings = {**TRAINING, **settings}
        self.plan: Plan = distillation.plan(
            folder,
            name=POOL,
            samples=sizes.samples,
            split=sizes.split,
            limit=sizes.limit,
            control=False,
            command=("python", "benchmarks/selection.py"),
        )

    def begin(self) -> None:
        """Refuse a folder whose students were made with other settings."""
        known = {
            "base": Weights(self.plan.training.base).weights_hash,
            "sizes": asdict(self.sizes),
            "settings": self._settings,
        }
        path = self.folder / "settings.json"
        with locked(self.folder / ".settings", wait=True):
            before = json.loads(path.read_text()) if path.exists() else known
            if before != known:
                raise SystemExit(f"{self.folder} has students of {before}, not of {known}.")
            write_json(path, known)

    def options(self, choice: Mapping[str, Any]) -> RationaleOptions:
        """Of the attempts, and of the choice among them."""
        given: dict[str, Any] = {"attempts": ASKED, "batch_size": ROWS, **choice}
        return replace(self.plan.teaching.options, **given)

    def prepare(self, names: Sequence[str]) -> None:
        """Let the teacher write and score its attempts, choose among them, and keep its logits,
        as these conditions need it."""
        for name in names:
            condition = CONDITIONS[name]
            if condition.trained:
                self.examples(condition, objective_of(self.config(condition, 0)))

    def examples(self, condition: Condition, objective: Objective) -> list[Example]:
        """What the students of a condition learn."""
        plan, workspace = self.plan, self.chosen(condition.choice)
        if objective.top_logits:
            with locked(workspace.folder / ".logits", wait=True):
                began = time.process_time()
                collect_logits(
                    workspace,
                    plan.questions,
                    self.scoring,
                    base=find_base(plan.training).folder,
                    objective=objective,
                )
                cost = workspace.folder / "logits_cost.json"
                if not cost.exists():
                    write_json(cost, {"cpu_seconds": round(time.process_time() - began, 1)})
        return load_examples(workspace, plan.questions, objective=objective)

    def chosen(self, choice: str) -> Workspace:
        """The distillation whose rationales are those of a choice, which is made where it is not
        there."""
        workspace = replace(self.plan.workspace, name=f"choice {choice}".replace(", ", " "))
        workspace = replace(workspace, name=workspace.name.replace(" ", "-"))
        scored = CHOICES[choice].get("choose") == "gain"
        with locked(self.folder / ".choices", wait=True):
            if (workspace.folder / DONE).exists():
                return workspace
            pool = self.plan.workspace.folder
            if not (pool / ATTEMPTS).exists() or (scored and not (pool / DONE).exists()):
                method = "gain" if scored else "best"
                self._collect(self.plan.workspace, {"keep": "format", "choose": method})
                if scored:
                    write_json(pool / DONE, {})
            workspace.folder.mkdir(parents=True, exist_ok=True)
            for file in (ATTEMPTS, RATIONALES, *([GAINS] if scored else [])):
                shutil.copyfile(pool / file, workspace.folder / file)
            self._collect(workspace, CHOICES[choice])
            write_json(workspace.folder / DONE, {})
        return workspace

    @property
    def scoring(self) -> Teaching:
        """Whose logits are learned."""
        teaching = self.plan.teaching
        return replace(teaching, teacher=replace(teaching.teacher, model=SCORER))

    def _collect(self, workspace: Workspace, choice: Mapping[str, Any]) -> None:
        teaching = replace(self.plan.teaching, options=self.options(choice))
        collect_rationales(workspace, self.plan.questions, teaching)

    def workspace(self, name: str, seed: int) -> Workspace:
        """Of a condition's student."""
        slug = name.replace(", ", "-").replace(" ", "-")
        return replace(self.plan.workspace, name=f"{slug}-{seed}")

    def is_done(self, name: str, seed: int) -> bool:
        return (self.workspace(name, seed).folder / DONE).exists()

    def make(self, name: str, seed: int, *, wait: bool) -> None:
        """Train the student of a condition, if it has one of its own, and ask it. One that another
        process makes is left to it or, with `wait`, waited for."""
        condition = CONDITIONS[name]
        if self.is_done(name, seed):
            return
        if condition.of:
            self.make(condition.of, seed, wait=True)
        workspace = self.workspace(name, seed)
        try:
            with locked(self.folder / f".{workspace.name}", wait=wait):
                if self.is_done(name, seed):
                    return
                print(f"{time.strftime('%H:%M:%S')} {name}, seed {seed}", flush=True)
                began = time.process_time()
                made = self._train(name, seed) if condition.trained else self._ask(name, seed)
                made["cpu_seconds_in_all"] = round(time.process_time() - began, 1)
                workspace.folder.mkdir(parents=True, exist_ok=True)
                write_json(workspace.folder / DONE, made)
        except InUse:
            return

    def _train(self, name: str, seed: int) -> dict[str, Any]:
        """One that was interrupted is trained from its first step, so that its time is whole."""
        condition, workspace = CONDITIONS[name], self.workspace(name, seed)
        shutil.rmtree(workspace.folder, ignore_errors=True)
        config = self.config(condition, seed)
        objective = objective_of(config)
        examples = self.examples(condition, objective)
        base = find_base(self.plan.training).folder
        if condition.of:
            base = self.workspace(condition.of, seed).folder / STUDENT
        scores = None
        if objective.sampling:
            scores = TeacherScores(self.scoring, self.plan.questions, base)
            examples = examples[: self.sizes.on_policy]
        clock = Clock("training")
        student = train(
            examples,
            base=base,
            out=workspace.folder,
            config=config,
            task=self.plan.questions.data.task,
            features=self.folder / "features",
            progress=clock,
            scores=scores,
        )
        shutil.rmtree(workspace.folder / CHECKPOINTS)
        evaluate_student(
            workspace, self.plan.test, self.plan.evaluation, folder=student, objective=objective
        )
        steps = len((workspace.folder / LOG).read_text().splitlines())
        return {"examples": len(examples), "steps": steps, "cpu_seconds": round(clock.seconds, 1)}

    def config(self, condition: Condition, seed: int) -> DistillConfig:
        """Of the training of a condition's student."""
        config = replace(self.plan.training.config, **self._settings, seed=seed)
        changes = dict(condition.config)
        objective = changes.pop("objective", "")
        if objective == "answer":
            config = distillation.answers_only(config)
        elif objective:
            config = config.with_objective(objective)
        return replace(config, **changes)

    def _ask(self, name: str, seed: int) -> dict[str, Any]:
        """Ask the student of another condition in this one's way."""
        condition, workspace = CONDITIONS[name], self.workspace(name, seed)
        of = self.workspace(condition.of, seed)
        source = Weights(
            ModelOptions(
                model=distillation.DISTILLED,
                weights=str(of.folder / STUDENT),
                name=workspace.name,
                runs=workspace.runs,
                device="cpu",
                dtype="float32",
            )
        )
        evaluation = self.plan.evaluation
        if condition.generation.get("conclude"):
            self._conclude(workspace, of, source)
            return {}
        how = RunOptions(
            runs=workspace.runs,
            limit=self.sizes.vote_limit,
            batch_size=evaluation.batch_size,
            seed=seed,
            generation=GenerationOptions(
                max_new_tokens=evaluation.max_new_tokens, **condition.generation
            ),
            command=workspace.command,
        )
        evaluate(source, self.plan.test, how)
        return {}

    def _conclude(self, workspace: Workspace, before: Workspace, source: Weights) -> None:
        """Choose the conclusions of the answers that are there by likelihood, as --conclude does
        after writing the very same."""
        data, task = self.plan.test, self.plan.test.task
        samples = {sample.id: sample for sample in data.samples.samples}
        answered = self._run_folder(before).read_predictions()
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
        self._run_folder(workspace).rewrite(made)

    def _run_folder(self, workspace: Workspace) -> RunFolder:
        return RunFolder.of(
            workspace.runs, task=distillation.TASK, model=workspace.name, split=self.sizes.split
        )

    def answers(self, name: str, seeds: Sequence[int]) -> list[list[Prediction]]:
        """The answers of a condition, a list for each seed; empty where one is missing."""
        if not all(self.is_done(name, seed) for seed in seeds):
            return []
        return [self._run_folder(self.workspace(name, seed)).read_predictions() for seed in seeds]

    def training(self, name: str, seeds: Sequence[int]) -> dict[str, Any]:
        """How many examples the students of a condition learned, in how many steps and how many
        seconds of CPU time; of one that goes on learning, its own steps alone."""
        if not CONDITIONS[name].trained:
            return {"examples": None, "steps": None, "cpu_seconds": None}
        made = [json.loads((self.workspace(name, s).folder / DONE).read_text()) for s in seeds]
        return {key: [each[key] for each in made] for key in ("examples", "steps", "cpu_seconds")}

    def logits_seconds(self) -> float | None:
        """CPU seconds that the teacher's logits took; None: there are none."""
        path = self.chosen(CONDITIONS["logits"].choice).folder / "logits_cost.json"
        return json.loads(path.read_text())["cpu_seconds"] if path.exists() else None
