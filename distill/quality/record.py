"""quality.json: the measures of the teacher's rationales, and of those that students write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from distill.layout import QUALITY, Workspace
from distill.options import RationaleOptions
from distill.quality.answers import structure
from distill.quality.dependence import Dependence, summarise_dependence
from distill.quality.measures import Measurement, measure, summarise
from distill.questions import Questions
from distill.rationales.attempts import Work
from distill.rationales.fingerprint import names_of
from distill.rationales.kept import no_rationales
from distill.rationales.store import Store
from harness.core.files.json_files import write_json
from harness.core.types import Prediction, Sample
from harness.run.folder import RunFolder
from harness.run.scoring import Run


def write_quality(
    workspace: Workspace,
    questions: Questions,
    *,
    dependence: Mapping[str, Dependence] | None = None,
    runs: Sequence[Run] = (),
    tested: Sequence[Sample] = (),
) -> dict[str, Any]:
    """Write quality.json; returns it.

    Args:
        dependence: sample id -> how much its rationale depends on its image; None: not measured.
        runs: of students, whose own rationales are measured as well.
        tested: the samples that `runs` have answered.
    """
    record = Store(workspace.folder).read_record()
    if record is None:
        raise no_rationales(workspace)
    options = RationaleOptions.recorded(record["settings"])
    work = Work(replace(workspace, fresh=False), questions, options, teachers=names_of(record))
    work.open()
    found: dict[str, Any] = {"teacher": asdict(summarise(work.measurements()))}
    if dependence is not None:
        topics = {sample.id: sample.topic for sample in work.selected}
        found["dependence"] = _by_topic(dependence, topics)
    samples = {sample.id: sample for sample in tested}
    found["students"] = {
        run.record.model.name: measure_run(RunFolder(run.folder).read_predictions(), samples)
        for run in runs
    }
    write_json(workspace.folder / QUALITY, found)
    return found


def measure_run(
    predictions: Sequence[Prediction], samples: Mapping[str, Sample] | None = None
) -> dict[str, Any]:
    """The measures of what a model wrote itself: its rationales', and how they end.

    Args:
        samples: id -> sample, for the solutions; None: ROUGE-L is left out.
    """
    known = samples or {}
    summary = summarise(
        Measurement(
            p.topic,
            kept=True,
            quality=measure(
                p.raw,
                choices=p.choices,
                target=p.target,
                solution=known[p.sample_id].solution if p.sample_id in known else "",
            ),
        )
        for p in predictions
        if p.error is None
    )
    structures = {name: asdict(value) for name, value in structure(predictions).items()}
    return {**asdict(summary), "structure": structures}


def _by_topic(dependence: Mapping[str, Dependence], topics: Mapping[str, str]) -> dict[str, Any]:
    def figures(chosen: Sequence[Dependence]) -> dict[str, Any]:
        return {k: asdict(v) for k, v in summarise_dependence(chosen).items()}

    names = sorted({topics[key] for key in dependence})
    return {
        "all": figures(list(dependence.values())),
        "topics": {
            name: figures([each for key, each in dependence.items() if topics[key] == name])
            for name in names
        },
    }
