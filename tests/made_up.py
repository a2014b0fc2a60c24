"""Runs that are scored by made-up metrics: graded, less being better, of a corpus, of groups."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core.types import DataOptions, Metric, Prediction, Reference, SampleSet, Task
from harness.run.folder import RunFolder
from harness.run.records import Counts, ModelInfo, RunRecord, TaskInfo
from harness.run.scoring import write_scored
from reports.inputs.material import RunData


def _credit(p: Prediction) -> float | None:
    """A third for each annotator who agrees, at most 1; of a sample without an image none."""
    if p.metadata.get("unscored"):
        return None
    return min(1.0, p.references.count(p.text) / 3)


def _distance(p: Prediction) -> float:
    return float(
        sum(a != b for a, b in zip(p.text.ljust(8), p.references[0].ljust(8), strict=False))
    )


def _counts(p: Prediction) -> tuple[float, float, float]:
    yes, truth = p.text == "yes", p.references[0] == "yes"
    return float(yes and truth), float(yes and not truth), float(truth and not yes)


def _f1(right: float, wrong: float, missed: float) -> float:
    return 2 * right / (2 * right + wrong + missed)


def _right(p: Prediction) -> float:
    return float(p.text in p.references)


GRADED = Metric("credit", "VQA credit", _credit, unit="%", meaning="agreement with annotators")
LOWER = Metric("distance", "Letters off", _distance, unit="", higher_is_better=False)
CORPUS = Metric("f1_of_yes", "F1 of yes", _counts, aggregate=_f1)
GROUPS = Metric("circular", "Circular accuracy", _right, per_group=min, interval="wilson")
EXACT = Metric("exact", "Exact match", _right, interval="wilson")

WORDS = ("red", "green", "blue", "yes", "no", "seven")
MODELS = {"strong": 0.9, "student": 0.6, "weak": 0.2}
"""Name -> how often it is right."""


def answers(name: str, skill: float, *, n: int = 60) -> list[Prediction]:
    """Answers in words; ten annotators each, four questions to a group, three topics."""
    chance = random.Random(name)
    made = []
    for place in range(n):
        truth = WORDS[place % len(WORDS)] if place % 2 else ("yes", "no")[place // 2 % 2]
        other = "no" if truth == "yes" else "yes"
        agree = 10 - place % 4
        draw = chance.random()
        text = truth if draw < skill else other if draw < (1 + skill) / 2 else "purple"
        made.append(
            Prediction(
                sample_id=str(place),
                raw=f"It is {text}.",
                answer=text,
                rule="whole text",
                target=(*[Reference(truth)] * agree, *[Reference(other)] * (10 - agree)),
                question=f"What is in picture {place}?",
                topic=("signs", "food", "sports")[place % 3],
                group=f"g{place // 4}",
                metadata={"unscored": 1.0} if place == 7 else {},
            )
        )
    return made


def task(metrics: Sequence[Metric]) -> Task:
    """A task that is scored by them; it has no data."""
    return Task(
        name="madeup",
        title="Made-up questions",
        load=_nothing,
        prompt=_never,
        extract=_never,
        metrics=tuple(metrics),
        answers="text",
    )


def _nothing(_: DataOptions) -> SampleSet:
    return SampleSet(samples=(), total=0)


def _never(*_: object) -> Any:
    raise AssertionError("no sample is asked")


def record(name: str, n: int) -> RunRecord:
    role = "student" if name == "student" else "baseline"
    return RunRecord(
        task=TaskInfo(name="madeup", title="Made-up questions", split="test"),
        model=ModelInfo(name=name, title=name.title(), size="2B", role=role),
        fingerprint={"data": "sha256:1"},
        counts=Counts(total=n, available=n),
        timing={
            "inference_minutes": 1.0,
            "seconds_per_sample": {"p50": {"strong": 3.0, "student": 1.0}.get(name, 2.0)},
        },
    )


def write(runs: Path, *metrics: Metric) -> list[RunData]:
    """A run of each of MODELS, in its folder, scored by these metrics."""
    made = []
    for name, skill in MODELS.items():
        found = answers(name, skill)
        folder = RunFolder.of(runs, task="madeup", model=name, split="test")
        with folder.locked():
            run = write_scored(folder, record(name, len(found)), found, metrics)
        timed = replace(run.record, timing=record(name, 0).timing)
        folder.write_record(timed)
        own = task(metrics)
        made.append(RunData(timed, folder.read_predictions, own))
    return made
