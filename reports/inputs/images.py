"""The images of the questions that runs were asked, found again in the data of their tasks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.images import ImageRef
from harness.core.types import DataOptions, SampleSet, Task
from harness.data.fingerprint import scan_images
from harness.run.records import RunRecord, TaskInfo
from reports.inputs.material import Pictures
from tasks import TASKS, load_task


def find_images(
    records: Sequence[RunRecord], *, tasks: Mapping[str, Task], data: Mapping[str, Path]
) -> Pictures:
    """Find the images of the questions that these runs were asked, where their data still are.

    Args:
        records: the runs.
        tasks: users' own tasks by name.
        data: name of a task -> where its data are now.
    """
    known: dict[str, ImageRef] = {}
    notes: dict[str, None] = {}
    seen: set[object] = set()
    for record in records:
        about = record.task
        key = (about.name, about.source, about.split, about.revision)
        made_elsewhere = record.settings.get("mode") == "scored" and about.name not in data
        if key in seen or made_elsewhere:
            continue
        seen.add(key)
        try:
            where = _where(about, data)
            known = _by_digest(_task(about.name, tasks).load(where)) | known
        except HarnessError as error:
            notes[f"No images of {about.name}, {about.split} split: {error.what}"] = None
    return Pictures(find=known.get, notes=tuple(sorted(notes)))


def _where(about: TaskInfo, data: Mapping[str, Path]) -> DataOptions:
    """Where the questions of a run are now: nothing is downloaded for a page."""
    path = data.get(about.name)
    if path is None and os.path.exists(about.source):  # noqa: PTH110  # Path's raises for some names
        path = Path(about.source)
    if path is None and about.revision is None and about.name in TASKS and not about.synthetic:
        raise HarnessError(
            f"{about.source} does not exist; pass its path with --data {about.name}=PATH."
        )
    return DataOptions(path=path, split=about.split, revision=about.revision, download=False)


def _task(name: str, own: Mapping[str, Task]) -> Task:
    if name in own:
        return own[name]
    if name in TASKS:
        return load_task(name)
    raise HarnessError("pass its file with --task FILE.")


def _by_digest(samples: SampleSet) -> dict[str, ImageRef]:
    """The sha256 of each picture's bytes -> the picture. A run has scanned the same pictures: see
    `harness.data.scan_cache`."""
    digests = scan_images(samples.samples).digests
    found: dict[str, ImageRef] = {}
    for sample in samples.samples:
        for image, digest in zip(sample.images, digests[sample.id], strict=True):
            if digest:
                found.setdefault(digest, image)
    return found
