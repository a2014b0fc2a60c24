"""All stages in one: rationales, their quality, training, evaluation.

Each stage finds what it left on disk and does only what is missing, so that a second call resumes
the first. `distill.layout` names the files; the evaluations are runs like any other, in
RUNS/TASK/NAME/SPLIT.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from distill.config import DistillConfig
from distill.examples import Example, gold
from distill.layout import CONTROL, FEATURES, QUALITY, folder_of
from distill.quality import dependence
from distill.quality.answers import structure
from distill.quality.measures import Measured, Summary, measure, summarise
from distill.rationales import attempts, importing
from distill.rationales import generate as rationales
from distill.rationales.attempts import RationaleOptions, Work
from distill.rationales.store import Store
from distill.training.card import Sources
from distill.training.estimate import Estimate, estimate
from distill.training.requirements import check_base, check_packages
from distill.training.train import train
from harness.checkpoints.catalog import find
from harness.checkpoints.checkpoint import Checkpoint
from harness.core.errors import DataError, HarnessError
from harness.core.files.json_files import write_json
from harness.core.files.paths import safe_name
from harness.core.mismatch import stop_on_mismatch
from harness.core.options import GenerationOptions, ModelOptions, RunOptions
from harness.core.structured import Rationale
from harness.core.types import Prediction, Sample
from harness.data.selection import select
from harness.run.evaluate import evaluate
from harness.run.folder import RunFolder
from harness.run.records import SYNTHETIC
from harness.run.scoring import Run
from harness.run.sources import Weights, find_source
from harness.run.task_data import Data
from harness.weights.resolve import resolve_weights

log = logging.getLogger(__name__)

_WORDS = {"summary": 40, "caption": 60, "reasoning": 100}
"""Of a stage that no teacher has written yet, for an estimate: about what LLaVA-CoT writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is distilled from what into what."""

    name: str
    runs: Path
    data: Data
    """The training questions."""
    test: Data
    teacher: ModelOptions
    imported: Path | None
    """A file of rationales in place of a teacher."""
    asking: RationaleOptions
    base: ModelOptions
    config: DistillConfig
    preset: str
    device: str
    dtype: str
    """Of evaluation; training has its own in the config."""
    baseline: bool
    """Evaluate the student before training too."""
    conclude: bool
    """Choose the student's conclusions by likelihood, in place of what it writes."""
    controls: Mapping[str, DistillConfig]
    """Students that are trained and evaluated too, for comparison: what stands behind their names,
    `CONTROL` for instance, and their settings."""
    dependence: bool
    """Measure how much the rationales depend on their pictures."""
    test_limit: int | None
    test_batch_size: int
    bertscore: str | None
    fresh: bool
    command: Sequence[str]

    @property
    def folder(self) -> Path:
        return folder_of(self.runs, self.name)

    @property
    def needs_rationales(self) -> bool:
        """Answers alone can be taught without a teacher."""
        return self.config.target == "structured" or self.imported is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it all."""

    rationales: Mapping[str, Any] | None
    """The record of the first stage; None where none were needed."""
    quality: Mapping[str, Any] | None
    students: Mapping[str, Path]
    """Name -> folder of the trained model."""
    runs: Sequence[Run]
    preset: str
    overlap: int
    """Test questions that are among the training questions, pictures and all."""


def distill(plan: Plan, *, told: Callable[[Run], None] = lambda _: None) -> Outcome:
    """Every stage that is not complete yet.

    Args:
        told: is given each evaluation as soon as it is there.

    Raises:
        HarnessError: a stage was made with other settings, or cannot be done.
        Interrupted: asked to stop; the same call goes on.
    """
    from harness.models.loading import resolve_device

    # What is missing is told before the night, not after it.
    attempts.check(plan.data, plan.asking)
    overlap = count_overlap(plan)
    find_base(plan)
    check_packages(plan.config, resolve_device(plan.device))
    record = make_rationales(plan) if plan.needs_rationales else None
    examples = make_examples(plan)
    found = write_quality(plan, examples) if record else None
    students = {plan.name: train_student(plan, examples)}
    for suffix in plan.controls:
        students[plan.name + suffix] = train_control(plan, examples, suffix)
    done = []
    for name, folder in students.items():
        done.append(evaluate_student(plan, name, folder))
        told(done[-1])
    if plan.baseline:
        done.append(evaluate_base(plan))
        told(done[-1])
    if found is not None:
        found = write_quality(plan, examples, runs=done)
    for name, folder in students.items():
        _fill_card(plan, name, folder, done, found)
    return Outcome(
        rationales=record,
        quality=found,
        students=students,
        runs=done,
        preset=plan.preset,
        overlap=overlap,
    )


def make_rationales(plan: Plan) -> dict[str, Any]:
    """The first stage; returns its record.

    Where it is complete and the teacher's weights are no longer there, it is taken as it is.
    """
    if plan.imported is not None:
        return importing.import_rationales(plan.imported, plan.data, plan.asking)
    attempts.check(plan.data, plan.asking)
    selected(plan)
    try:
        source = find_source(plan.teacher)
    except HarnessError as error:
        record = Store(plan.folder).read_record()
        if record is None or plan.asking.fresh or not _is_complete(plan, record):
            raise
        log.warning("%s Its rationales are complete, and are used as they are.", error.what)
        work = Work(plan.data, plan.asking, rounds=attempts.rounds(plan.asking))
        work.open()
        work.begin(record["fingerprint"], about=record["teacher"])
        return work.finish()
    return rationales.generate(
        rationales.teacher_of(source, max_new_tokens=plan.asking.max_new_tokens),
        plan.data,
        plan.asking,
    )


def _is_complete(plan: Plan, record: Mapping[str, Any]) -> bool:
    """Whether the rationales on disk are by this teacher, and as many as are wanted."""
    known = attempts.data_fingerprint(plan.data, plan.asking)
    if any(record["fingerprint"].get(key) != value for key, value in known.items()):
        return False
    if record["teacher"]["name"] not in {plan.teacher.model, Path(plan.teacher.model).name}:
        return False
    work = Work(plan.data, plan.asking, rounds=attempts.rounds(plan.asking))
    work.open()
    return work.is_over


def selected(plan: Plan) -> list[Sample]:
    """The questions that are distilled."""
    how, seed = plan.asking.sample, plan.asking.seed
    return select(plan.data.samples.samples, limit=plan.asking.limit, how=how, seed=seed)


@dataclass(frozen=True, slots=True)
class Asked:
    """How far the first stage is."""

    rationales: int
    """Kept ones on disk, or rows of the file that takes a teacher's place."""
    remaining: int
    """Questions that no attempt was made on."""
    seconds: float | None
    """For those, at the speed so far and one attempt each; None: nothing was asked yet."""


def estimate_rationales(plan: Plan) -> Asked:
    """What the first stage still has to do; a file asks nobody, as answers alone do not."""
    if plan.imported is not None:
        return Asked(sum(1 for _ in importing.read_rows(plan.imported)), 0, 0.0)
    if not plan.needs_rationales:
        return Asked(0, 0, 0.0)
    store = Store(plan.folder)
    written = store.read_attempts()
    done = {attempt.id for attempt in written}
    remaining = sum(sample.id not in done for sample in selected(plan))
    times = [attempt.seconds for attempt in written if attempt.seconds is not None]
    seconds = remaining * fmean(times) if times else None
    return Asked(len(store.read_kept()), remaining, seconds)


def make_examples(plan: Plan) -> list[Example]:
    """What the student is taught: the selected questions that have a kept rationale or, where only
    answers are taught and nobody wrote any, all of them.

    Raises:
        DataError: there are no rationales, or they are of other data.
    """
    record = Store(plan.folder).read_record()
    if record is None:
        if plan.config.target == "answer":
            return [Example(sample, None) for sample in selected(plan)]
        raise _no_rationales(plan)
    known = attempts.data_fingerprint(plan.data, plan.asking)
    stop_on_mismatch(
        record["fingerprint"],
        known,
        what=f"the rationales in {plan.folder}",
        made_by=record.get("command", ()),
        command=plan.command,
        error=DataError,
    )
    if record["status"] != "complete":
        log.warning("%s: the rationales are %s.", plan.folder, record["status"])
    kept = attempts.read_rationales(plan.folder)
    examples = [Example(s, kept[s.id]) for s in selected(plan) if s.id in kept]
    if not examples:
        raise DataError(
            f"None of the rationales in {plan.folder} was kept.",
            known=f"The reasons: {record['counts'].get('reasons')}",
            remedy="Choose a wider --filter: none keeps any text.",
        )
    return examples


def _no_rationales(plan: Plan) -> DataError:
    return DataError(
        f"{plan.folder} has no rationales.", remedy=f"harness distill rationales --name {plan.name}"
    )


def train_student(plan: Plan, examples: Sequence[Example], *, fresh: bool = False) -> Path:
    """The second stage; returns the student's folder."""
    return _train(plan, examples, plan.config, plan.folder, fresh=fresh or plan.fresh)


def train_control(plan: Plan, examples: Sequence[Example], suffix: str = CONTROL) -> Path:
    """The same questions under one of the plan's `controls`; returns that student's folder."""
    out = folder_of(plan.runs, plan.name + suffix)
    return _train(plan, examples, plan.controls[suffix], out, fresh=plan.fresh)


def _train(
    plan: Plan, examples: Sequence[Example], config: DistillConfig, out: Path, *, fresh: bool
) -> Path:
    from harness.core import progress
    from harness.models.loading import resolve_device

    base = find_base(plan)
    return train(
        examples,
        base=base.folder,
        out=out,
        config=config,
        device=resolve_device(plan.device),
        task=plan.data.task,
        sources=_sources(plan, base),
        features=plan.folder / FEATURES,
        fresh=fresh,
        progress=progress.make,
    )


def find_base(plan: Plan) -> Checkpoint:
    """The student before training; raises HarnessError where it is not here, or no Moondream."""
    asked = plan.base
    base = resolve_weights(
        asked.model, weights=asked.weights, revision=asked.revision, size=asked.size
    )
    check_base(base.folder)
    return base


def estimate_training(plan: Plan, config: DistillConfig | None = None) -> Estimate:
    """What training will take. Questions without a rationale yet are taken to get one of some 200
    words.

    Args:
        config: one of the plan's `controls`; None: the student's.
    """
    from harness.models.loading import resolve_device

    known = attempts.read_rationales(plan.folder)
    texts = {name: "word " * words for name, words in _WORDS.items()}
    return estimate(
        [
            Example(s, known.get(s.id) or Rationale(**texts, conclusion=gold(s)))
            for s in selected(plan)
        ],
        base=find_base(plan).folder,
        config=config or plan.config,
        task=plan.data.task,
        device=resolve_device(plan.device),
    )


def write_quality(
    plan: Plan, examples: Sequence[Example], *, runs: Sequence[Run] = ()
) -> dict[str, Any]:
    """quality.json: the measures of the teacher's rationales and of those that students wrote in
    their runs; returns it."""
    if Store(plan.folder).read_record() is None:
        raise _no_rationales(plan)
    asking = replace(plan.asking, fresh=False)
    work = Work(plan.data, asking, rounds=attempts.rounds(asking, plan.imported))
    work.open()
    found: dict[str, Any] = {"teacher": asdict(summarise(work.measured()))}
    if plan.dependence:
        from harness.models.loading import resolve_device

        depends = dependence.image_dependence(
            examples,
            base=find_base(plan).folder,
            folder=plan.folder,
            task=plan.data.task,
            device=resolve_device(plan.device),
        )
        topics = {e.sample.id: e.sample.topic for e in examples}
        found["dependence"] = _by_topic(depends, topics)
    samples = {sample.id: sample for sample in plan.test.samples.samples}
    found["students"] = {
        run.record.model.name: measure_run(RunFolder(run.folder).read_predictions(), samples)
        for run in runs
    }
    write_json(plan.folder / QUALITY, found)
    return found


def measure_run(
    predictions: Sequence[Prediction], samples: Mapping[str, Sample] | None = None
) -> dict[str, Any]:
    """The measures of what a model wrote itself: its rationales', and how they end.

    Args:
        samples: id -> sample, for the solutions; None: ROUGE-L is left out.
    """
    answered = [p for p in predictions if p.error is None]
    summary: Summary = summarise(
        Measured(
            p.topic,
            kept=True,
            quality=measure(
                p.raw,
                choices=p.choices,
                target=p.target,
                solution=samples[p.sample_id].solution
                if samples and p.sample_id in samples
                else "",
            ),
        )
        for p in answered
    )
    structures = {name: asdict(value) for name, value in structure(predictions).items()}
    return {**asdict(summary), "structure": structures}


def evaluate_student(plan: Plan, name: str, folder: Path) -> Run:
    """A trained student on the test questions. The run of one that was trained before, and is no
    more, is moved aside."""
    is_control = name != plan.name
    weights = Weights(
        ModelOptions(
            # The control is no row of the catalogue: it is asked for a letter, under its own name.
            model=str(folder) if is_control else "moondream-kd",
            weights=None if is_control else str(folder),
            name=name,
            runs=plan.runs,
            device=plan.device,
            dtype=plan.dtype,
        )
    )
    there = RunFolder.of(
        plan.runs, task=plan.test.task.name, model=name, split=plan.test.options.split
    ).read_record()
    current = weights.fingerprint["weights"]
    outdated = there is not None and there.fingerprint.get("weights") != current
    how = _run_options(
        plan,
        fresh=plan.fresh or outdated,
        conclude=plan.conclude and not is_control,  # a control has no reasoning to conclude from
    )
    return evaluate(weights, plan.test, how)


def evaluate_base(plan: Plan) -> Run:
    """The student before training, on the same questions."""
    return evaluate(
        Weights(replace(plan.base, device=plan.device, dtype=plan.dtype)),
        plan.test,
        # The base has no reasoning to conclude from.
        _run_options(plan, fresh=False, conclude=False),
    )


def count_overlap(plan: Plan) -> int:
    """Test questions that were trained on: equal in question, options and pictures."""
    test = plan.test
    taught = {(s.question, s.choices, plan.data.digests[s.id]) for s in selected(plan)}
    both = sum((s.question, s.choices, test.digests[s.id]) in taught for s in test.samples.samples)
    if both:
        log.warning(
            "%d of %d test questions are among those that are trained on.",
            both,
            len(test.samples.samples),
        )
    return both


def _run_options(plan: Plan, *, fresh: bool, conclude: bool) -> RunOptions:
    return RunOptions(
        runs=plan.runs,
        limit=plan.test_limit,
        batch_size=plan.test_batch_size,
        generation=GenerationOptions(max_new_tokens=plan.config.max_new_tokens, conclude=conclude),
        fresh=fresh,
        bertscore=plan.bertscore,
        command=plan.command,
    )


def _sources(plan: Plan, base: Checkpoint) -> Sources:
    record = Store(plan.folder).read_record() or {}
    teacher = record.get("teacher", {})
    samples = plan.data.samples
    spec = base.spec if base.named else find(plan.base.model)
    title = base.title if base.named or spec is None else spec.title
    revision = f" @ {samples.revision}" if samples.revision else ""
    return Sources(
        base=f"{title}, {SYNTHETIC}" if base.mini else title,
        base_licence=base.licence or (spec.licence if spec else ""),
        teacher=teacher.get("title") or teacher.get("name", ""),
        teacher_licence=teacher.get("licence", ""),
        data=f"{plan.data.task.title}, {samples.source}{revision}, {plan.data.options.split}",
        data_licence=samples.licence,
    )


def _by_topic(
    depends: Mapping[str, dependence.Dependence], topics: Mapping[str, str]
) -> dict[str, Any]:
    def figures(chosen: Sequence[dependence.Dependence]) -> dict[str, Any]:
        return {k: asdict(v) for k, v in dependence.summarise_dependence(chosen).items()}

    names = sorted({topics[key] for key in depends})
    return {
        "all": figures(list(depends.values())),
        "topics": {
            name: figures([each for key, each in depends.items() if topics[key] == name])
            for name in names
        },
    }


def _fill_card(
    plan: Plan, name: str, folder: Path, runs: Sequence[Run], found: Mapping[str, Any] | None
) -> None:
    """Put the results, and how the student's answers are built, into its model card."""
    from distill.training.card import fill_results

    task, split = plan.test.task.title, plan.test.options.split
    label = next((f", {run.record.label}" for run in runs if run.record.label), "")
    rows = [
        f"{task}, {split}{label}; settings: preset `{plan.preset}`, as in the table above.\n",
        "| Model | Questions | Accuracy | 95% interval |",
        "|---|---|---|---|",
    ]
    for run in runs:
        accuracy = run.record.metrics.get("accuracy")
        if accuracy is None or accuracy.value is None:
            continue
        own = " (this model)" if run.record.model.name == name else ""
        low, high = 100 * (accuracy.low or 0), 100 * (accuracy.high or 0)
        rows.append(
            f"| {safe_name(run.record.model.name)}{own} | {accuracy.n} | "
            f"{100 * accuracy.value:.2f} | {low:.1f} to {high:.1f} |"
        )
    if found is not None and name == plan.name:
        structures = found["students"][name]["structure"]
        tags, wrong = structures["all_tags"], structures["reasoning_to_error"]
        if tags["value"] is not None:
            rows.append(f"\nAnswers with all four stages: {100 * tags['value']:.1f}%.")
        if wrong["value"] is not None:
            value = f"{100 * wrong['value']:.1f}% of {wrong['n']}"
            rows.append(f"Wrong answers whose reasoning is right: {value}.")
    fill_results(folder / "README.md", "\n".join(rows))
