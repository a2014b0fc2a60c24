"""Find the runs and distillations under a folder of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from distill.layout import (
    CONTROL,
    DISTILLATIONS,
    EVALUATIONS,
    KEPT,
    LOG,
    QUALITY,
    RATIONALES,
    REJECTED,
    TRAINING,
)
from distill.rationales.store import Store
from harness.core.errors import HarnessError
from harness.core.files.json_files import load_json
from harness.core.files.jsonl import readable_objects
from harness.core.types import Prediction
from harness.run.folder import RunFolder, read_runs
from harness.run.layout import PREDICTIONS
from reports.inputs.material import (
    Distillation,
    Material,
    RunData,
    Training,
)
from reports.inputs.predictions import PredictionsFile


def gather(runs: Path) -> tuple[Material, list[HarnessError]]:
    """Find what is under `runs`, and why other runs are left out. Answers and other rows are read
    when they are asked for; those that cannot be read are added to the latter then."""
    found, broken = read_runs(runs)
    evidence = tuple(
        RunData(record, _answers(folder, broken), file=PredictionsFile(folder / PREDICTIONS))
        for folder, record in found
    )
    material = Material(
        runs=evidence,
        distillations=_distillations(runs, evidence),
    )
    return material, broken


def _answers(folder: Path, broken: list[HarnessError]) -> Callable[[], Sequence[Prediction]]:
    """Reads the answers of a run."""
    run = RunFolder(folder)

    def read() -> Sequence[Prediction]:
        try:
            return run.read_predictions()
        except HarnessError as error:
            if str(error) not in map(str, broken):
                broken.append(error)
            return ()

    return read


def _distillations(runs: Path, evidence: Sequence[RunData]) -> tuple[Distillation, ...]:
    """Each folder under runs/distill that has rationales or a training; a control belongs to the
    one that it controls."""
    folders = {
        path.name: path
        for path in sorted((runs / DISTILLATIONS).glob("*"))
        if any((path / name).is_file() for name in (TRAINING, RATIONALES))
    }
    return tuple(
        _distillation(folder, folders.get(name + CONTROL), evidence)
        for name, folder in folders.items()
        if not (name.endswith(CONTROL) and name.removesuffix(CONTROL) in folders)
    )


def _distillation(folder: Path, control: Path | None, evidence: Sequence[RunData]) -> Distillation:
    problems: list[str] = []
    store = Store(folder)
    rationales = _object(store.record_path, problems)
    training = _training(folder, evidence, problems)
    about = rationales.get("teacher")
    fingerprint = rationales.get("fingerprint")
    return Distillation(
        name=folder.name,
        rationales=rationales,
        kept=partial(readable_objects, folder / KEPT),
        rejected=partial(readable_objects, folder / REJECTED),
        quality=_object(folder / QUALITY, problems),
        training=training,
        control=_training(control, evidence, problems) if control else None,
        base=_runs_of(
            evidence,
            weights=_get(training.record, "fingerprint", "weights") if training else None,
            name=_get(training.record, "base") if training else None,
        ),
        teacher=_runs_of(evidence, weights=_get(fingerprint, "weights"), name=_get(about, "name")),
        problems=tuple(problems),
    )


def _training(folder: Path, evidence: Sequence[RunData], problems: list[str]) -> Training | None:
    record = _object(folder / TRAINING, problems)
    if not record:
        return None
    return Training(
        name=folder.name,
        record=record,
        log=partial(readable_objects, folder / LOG),
        evaluations=partial(readable_objects, folder / EVALUATIONS),
        runs=tuple(run for run in evidence if run.record.model.name == folder.name),
    )


def _runs_of(evidence: Sequence[RunData], *, weights: object, name: object) -> tuple[RunData, ...]:
    """The runs of a model: those with its very weights, or else those of its name."""
    same = tuple(
        run for run in evidence if weights and _get(run.record.fingerprint, "weights") == weights
    )
    return same or tuple(run for run in evidence if run.record.model.name == name)


def _get(value: object, *keys: str) -> object:
    """What stands under these keys of nested objects; None where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _object(path: Path, problems: list[str]) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none, with a problem where it is broken."""
    try:
        found = load_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} cannot be read: {error}")
        return {}
    if not isinstance(found, dict):
        problems.append(f"{path.name} is not an object")
        return {}
    return found
