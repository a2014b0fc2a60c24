"""From a folder of runs to the leaderboard's file: what is on disk, gathered for the page."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from distill.layout import CONTROL, KEPT, LOG, QUALITY, RATIONALES, REJECTED, TRAINING
from distill.quality.answers import reasoning_to_error, structure
from distill.rationales.store import Store
from harness.core.errors import HarnessError, SampleError
from harness.core.files.atomic import write_atomically
from harness.core.files.regular import MAX_RECORD, MAX_ROWS, read_regular
from harness.core.json_values import parse_json
from harness.core.types import DataOptions, ImageRef, Prediction, SampleSet, Task
from harness.run.folder import RunFolder, read_runs
from harness.run.records import RunRecord, TaskInfo
from reports.evidence import (
    Distillation,
    Evidence,
    Material,
    Pictures,
    Structure,
    Training,
    Which,
)
from reports.leaderboard import render
from reports.payload import picture_bytes
from tasks import TASKS, load_task

_KEPT = 2**25
"""Bytes of a file of answers up to which they are kept between two readings of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What a page shows of the single answers."""

    samples: Which = "all"
    images: bool = True
    """Their pictures too, as far as they are at hand."""
    tasks: Sequence[str] = ()
    """Files of users' own tasks, whose data hold the pictures of their runs: a file is run only
    where it is named here, whatever a record says."""
    data: Mapping[str, Path] = field(default_factory=dict)
    """Name of a task -> where its data are now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A page that was written."""

    path: Path
    options: ReportOptions
    runs: int
    bytes: int
    picture_bytes: int
    """Those of them that are pictures."""
    broken: Sequence[HarnessError]
    """Why runs, or their answers, are not on it."""
    notes: Sequence[str]
    """What else is not on it, and why."""


def write_report(runs: Path, out: Path, options: ReportOptions | None = None) -> Report:
    """Write the page of all runs under `runs` to `out`."""
    how = options or ReportOptions()
    material, broken = gather(runs)
    pictures = None
    if how.images and how.samples != "none":
        pictures = find_pictures([run.record for run in material.runs], how)
    page = render(material, samples=how.samples, pictures=pictures)
    encoded = page.encode()
    write_atomically(out, encoded)
    return Report(
        path=out,
        options=how,
        runs=len(material.runs),
        bytes=len(encoded),
        picture_bytes=picture_bytes(page),
        broken=broken,
        notes=pictures.notes if pictures else (),
    )


def gather(runs: Path) -> tuple[Material, list[HarnessError]]:
    """What there is under `runs`, and why other runs are left out. Answers and other rows are read
    when they are asked for; those that cannot be read are added to the latter then."""
    found, broken = read_runs(runs)
    evidence = tuple(Evidence(record, _answers(folder, broken)) for folder, record in found)
    material = Material(
        runs=evidence,
        distillations=_distillations(runs, evidence),
        structure=_structure,
        reasoning_to_error=_misled,
    )
    return material, broken


def _answers(folder: Path, broken: list[HarnessError]) -> Callable[[], Sequence[Prediction]]:
    """Reads the answers of a run; a small file's are kept, as a page needs them more than once."""
    run = RunFolder(folder)
    kept: list[Sequence[Prediction]] = []

    def read() -> Sequence[Prediction]:
        if kept:
            return kept[0]
        try:
            found = run.read_predictions()
        except HarnessError as error:
            if str(error) not in map(str, broken):
                broken.append(error)
            return ()
        path = run.predictions_path
        if path.is_file() and path.stat().st_size <= _KEPT:
            kept.append(found)
        return found

    return read


def find_pictures(records: Sequence[RunRecord], options: ReportOptions) -> Pictures:
    """The pictures of the questions that these runs were asked, where their data still are."""
    own = {task.name: task for task in map(load_task, options.tasks)}
    known: dict[str, ImageRef] = {}
    notes: dict[str, None] = {}
    seen: set[object] = set()
    for record in records:
        about = record.task
        key = (about.name, about.source, about.split, about.revision)
        made_elsewhere = record.settings.get("mode") == "scored" and about.name not in options.data
        if key in seen or made_elsewhere:
            continue
        seen.add(key)
        try:
            where = _where(about, options)
            known = _by_digest(_task(about.name, own).load(where)) | known
        except HarnessError as error:
            notes[f"No pictures of {about.name}, {about.split} split: {error.what}"] = None
    return Pictures(find=known.get, notes=tuple(sorted(notes)))


def _where(about: TaskInfo, options: ReportOptions) -> DataOptions:
    """Where the questions of a run are now: nothing is downloaded for a page."""
    path = options.data.get(about.name)
    if path is None and os.path.exists(about.source):  # noqa: PTH110  # Path's raises for some names
        path = Path(about.source)
    if path is None and about.revision is None and about.name in TASKS and not about.synthetic:
        raise HarnessError(
            f"{about.source} is not there any more; --data {about.name}=PATH says where it is."
        )
    return DataOptions(path=path, split=about.split, revision=about.revision, download=False)


def _task(name: str, own: Mapping[str, Task]) -> Task:
    if name in own:
        return own[name]
    if name in TASKS:
        return load_task(name)
    raise HarnessError("its file is run only where it is named, with --task FILE.")


def _by_digest(samples: SampleSet) -> dict[str, ImageRef]:
    """The sha256 of each picture's bytes -> the picture."""
    found: dict[str, ImageRef] = {}
    for image in (image for sample in samples.samples for image in sample.images):
        with contextlib.suppress(SampleError):
            found.setdefault(image.digest(), image)
    return found


def _structure(predictions: Sequence[Prediction]) -> Structure:
    errors = reasoning_to_error(predictions)
    return Structure(figures=structure(predictions, errors), reasoning_to_error=errors.sample_ids)


def _misled(predictions: Sequence[Prediction]) -> Sequence[str]:
    return reasoning_to_error(predictions).sample_ids


def _distillations(runs: Path, evidence: Sequence[Evidence]) -> tuple[Distillation, ...]:
    """Each folder under runs/distill that has rationales or a training; a control belongs to the
    one that it controls."""
    folders = {
        path.name: path
        for path in sorted((runs / "distill").glob("*"))
        if any((path / name).is_file() for name in (TRAINING, RATIONALES))
    }
    return tuple(
        _distillation(folder, folders.get(name + CONTROL), evidence)
        for name, folder in folders.items()
        if not (name.endswith(CONTROL) and name.removesuffix(CONTROL) in folders)
    )


def _distillation(folder: Path, control: Path | None, evidence: Sequence[Evidence]) -> Distillation:
    problems: list[str] = []
    store = Store(folder)
    rationales = _object(store.record_path, problems)
    training = _training(folder, evidence, problems)
    about = rationales.get("teacher")
    fingerprint = rationales.get("fingerprint")
    return Distillation(
        name=folder.name,
        rationales=rationales,
        kept=partial(_rows, folder / KEPT),
        rejected=partial(_rows, folder / REJECTED),
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


def _training(folder: Path, evidence: Sequence[Evidence], problems: list[str]) -> Training | None:
    record = _object(folder / TRAINING, problems)
    if not record:
        return None
    return Training(
        name=folder.name,
        record=record,
        log=partial(_rows, folder / LOG),
        runs=tuple(run for run in evidence if run.record.model.name == folder.name),
    )


def _runs_of(
    evidence: Sequence[Evidence], *, weights: object, name: object
) -> tuple[Evidence, ...]:
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
        found = parse_json(read_regular(path, limit=MAX_RECORD, within=path.parent).decode())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} cannot be read: {error}")
        return {}
    if not isinstance(found, dict):
        problems.append(f"{path.name} is not an object")
        return {}
    return found


def _rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file that can be read: a page shows what there is."""
    try:
        data = read_regular(path, limit=MAX_ROWS, within=path.parent)
    except OSError:
        return []
    rows = []
    for line in data.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows
