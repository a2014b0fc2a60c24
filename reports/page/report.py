"""`harness report`: gather what is on disk, render the page, write the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.files.atomic import write_atomically
from reports.inputs.discovery import gather
from reports.inputs.images import find_images
from reports.inputs.material import SampleChoice
from reports.page.leaderboard import render
from reports.page.samples.payload import picture_bytes
from tasks import load_task


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """The samples that a page shows."""

    samples: SampleChoice = "all"
    images: bool = True
    """Their images too, as far as they are found."""
    tasks: Sequence[str] = ()
    """Files of users' own tasks, whose data hold the pictures of their runs, and whose metrics
    compare runs where answers have no scores of their own: a file is run only where it is named
    here, whatever a record says."""
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
    own = {task.name: task for task in map(load_task, how.tasks)}
    material = replace(
        material,
        runs=tuple(replace(run, task=own.get(run.record.task.name)) for run in material.runs),
    )
    pictures = None
    if how.images and how.samples != "none":
        pictures = find_images(material.records, tasks=own, data=how.data)
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
