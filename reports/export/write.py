"""From a folder of runs to the formats that other programs read: which runs and tables, and the
files that are written. What stands in them is the business of `reports.export.formats`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from harness.core.errors import Exit, HarnessError
from harness.core.files.atomic import remove_leftovers, write_atomically
from harness.core.files.json_files import load_json
from harness.core.files.staging import staging
from reports.export.formats import FOLDER_FORMATS, TABLE_FORMATS
from reports.export.run_files import File, text_file
from reports.inputs import sanitize
from reports.inputs.discovery import gather
from reports.inputs.material import Material
from reports.page.leaderboard import TaskSection, sections
from reports.statistics.answers import read

OURS = ".harness-export.json"
"""In a folder that was exported to: the files that are ours to replace."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to."""

    text: str
    """The document; empty where files were written."""
    files: tuple[Path, ...]
    broken: tuple[HarnessError, ...]
    """Why other runs are left out."""


def export(
    form: str, runs: Path, *, task: str | None, out: Path | None, dataset: str | None
) -> Exported:
    """Write what is under `runs` in the format `form`.

    Args:
        form: a key of TABLE_FORMATS or of FOLDER_FORMATS.
        runs: the folder of run folders.
        task: only this task's runs and tables; None: all.
        out: the file of a table format, None to get its text; the folder of the others.
        dataset: the hub's data set that the questions are; None: as the runs say.
    """
    material, broken = gather(runs)
    if form in TABLE_FORMATS:
        if dataset is not None:
            raise HarnessError(f"--dataset does nothing with --format {form}.")
        found = [table for section in _sections(material, task) for table in section.tables]
        return _document(TABLE_FORMATS[form].write(found), out, broken)
    if out is None:
        raise HarnessError(
            f"--format {form} makes a folder of files.", remedy="Name the folder with --out."
        )
    if dataset is not None and sanitize.hub_url(dataset) is None:
        raise HarnessError(
            f"--dataset {dataset}: that is no name of a data set.", remedy="Write ORG/NAME."
        )
    made = FOLDER_FORMATS[form]
    chosen = [run for run in material.runs if task in {None, run.record.task.name}]
    if not chosen:
        raise broken[0] if broken else _no_run(task, runs)
    fitting = [run for run in chosen if not made.unfit(run.record, dataset)]
    reasons = [
        HarnessError(
            f"The run of {run.record.model.name} on {run.record.task.name} is left out: "
            f"{made.unfit(run.record, dataset)}."
        )
        for run in chosen
        if run not in fitting
    ]
    if not fitting:
        raise reasons[0]
    files = _write_folder(out, partial(made.write, fitting, dataset))
    if not files:
        none = HarnessError(f"The runs in {runs} hold no answers.", code=Exit.MISSING)
        raise broken[0] if broken else none
    return Exported("", files, (*broken, *reasons))


def _document(text: str, out: Path | None, broken: Sequence[HarnessError]) -> Exported:
    if out is None:
        return Exported(text, (), tuple(broken))
    if out.exists() and not out.is_file():  # a device would be replaced by a file
        raise _unwritable(out, "it is no file")
    _write(out, text.encode())
    return Exported("", (out,), tuple(broken))


def _sections(material: Material, task: str | None) -> Sequence[TaskSection]:
    """The page's sections, all of them or that of `task`."""
    chosen = [run for run in material.runs if task in {None, run.record.task.name}]
    answers = {each.run: each for run in chosen if (each := read(run))}
    found = sections([run.record for run in chosen], answers)
    if task is None:
        return found
    named = [section for section in found if section.name == task]
    if not named:
        known = sorted({*(section.name for section in found), *_tasks(material)})
        raise HarnessError(
            f"--task {task}: there is no run of it, and the paper has no table of it.",
            known=f"There are tables of {', '.join(known)}.",
        )
    return named


def _tasks(material: Material) -> set[str]:
    return {run.record.task.name for run in material.runs}


def _no_run(task: str | None, runs: Path) -> HarnessError:
    of = f" of {task}" if task else ""
    return HarnessError(
        f"There is no run{of} in {runs}.",
        remedy="harness eval makes one; harness list runs shows what there is.",
        code=Exit.MISSING,
    )


def _write_folder(folder: Path, make: Callable[[], Iterable[File]]) -> tuple[Path, ...]:
    """Write the files into `folder`. A file that is there already is replaced only if an export
    wrote it; otherwise nothing at all is written.

    `make` is called twice, for the names and for the files: their answers are never all in memory.
    """
    if folder.exists() and not folder.is_dir():
        raise _unwritable(folder, "it is no folder")
    names = [file.path for file in make()]
    ours = _ours(folder)
    for name in names:
        path = folder / name
        if name not in ours and (path.exists() or path.is_symlink()):
            raise HarnessError(
                f"{path} is there already, and no export wrote it.",
                known="Nothing was written.",
                remedy="Name another folder with --out, or move that file away.",
            )
    if not names:
        return ()
    for path in [folder / name for name in ours]:
        remove_leftovers(path.parent, {path.name})  # nothing is uploaded that a killed export left
    listed = {"files": sorted({*ours, *names})}
    files = itertools.chain([text_file(OURS, json.dumps(listed, indent=1) + "\n")], make())
    try:
        with staging(folder) as aside:
            for number, file in enumerate(files):
                made = aside / str(number)
                write_atomically(made, file.pieces())
                (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
                made.replace(folder / file.path)
    except OSError as error:
        raise _unwritable(folder, error.strerror) from error
    return tuple(folder / name for name in names)


def _ours(folder: Path) -> set[str]:
    """The files in `folder` that an export wrote, by their paths in it."""
    try:
        listed = load_json(folder / OURS)["files"]
        return {str(PurePosixPath(path)) for path in listed}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _write(path: Path, data: bytes | Iterable[bytes]) -> None:
    try:
        write_atomically(path, data)
    except OSError as error:
        raise _unwritable(path, error.strerror) from error


def _unwritable(out: Path, reason: str | None) -> HarnessError:
    return HarnessError(
        f"{out} cannot be written: {reason}.", remedy="Name another place with --out."
    )
