"""`harness export`: which runs and tables, in which format, and where to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from harness.core.errors import Exit, HarnessError
from reports.export.destination import write_document, write_folder
from reports.export.formats import FOLDER_FORMATS, TABLE_FORMATS
from reports.inputs import sanitize
from reports.inputs.discovery import gather
from reports.inputs.material import Material
from reports.page.leaderboard import TaskSection, sections
from reports.page.sections import overview
from reports.statistics.answers import read
from reports.tables.table import Table
from tasks import load_task
from tasks.groups import is_group, load_group


@dataclass(frozen=True, slots=True)
class Export:
    """A finished export."""

    text: str
    """The document; empty where files were written."""
    files: tuple[Path, ...]
    broken: tuple[HarnessError, ...]
    """Why other runs are left out."""
    notes: tuple[str, ...] = ()
    """What has to be known of those that are written."""


def export(
    form: str, runs: Path, *, task: str | None, out: Path | None, dataset: str | None
) -> Export:
    """Write what is under `runs` in the format `form`.

    Args:
        form: a key of TABLE_FORMATS or of FOLDER_FORMATS.
        runs: the folder of run folders.
        task: only this task's runs and tables, or those of a group's tasks, by its name or the file
            of a user's own; None: all.
        out: the file of a table format, None to get its text; the folder of the others.
        dataset: the hub's data set that the questions are; None: as the runs say.
    """
    material, broken = gather(runs)
    there = {run.record.task.name for run in material.runs}
    names: Collection[str] | None = None
    if task is not None:
        material, names = _only(material, task)
    if form in TABLE_FORMATS:
        if dataset is not None:
            raise HarnessError(f"--dataset does not apply to --format {form}; remove it.")
        return _document(TABLE_FORMATS[form].write(_tables(material, names, there)), out, broken)
    if out is None:
        raise HarnessError(
            f"--format {form} writes a folder of files.", remedy="Name the folder with --out."
        )
    if dataset is not None and sanitize.hub_url(dataset) is None:
        raise HarnessError(
            f"--dataset {dataset}: not the name of a data set on the Hub.",
            remedy="Write it as ORG/NAME.",
        )
    made = FOLDER_FORMATS[form]
    chosen = material.runs
    if not chosen:
        raise broken[0] if broken else _no_run(task, runs)
    fitting = [run for run in chosen if not made.unfit(run, dataset)]
    reasons = [
        HarnessError(
            f"The run of {run.record.model.name} on {run.record.task.name} is left out: "
            f"{made.unfit(run, dataset)}."
        )
        for run in chosen
        if run not in fitting
    ]
    if not fitting:
        raise reasons[0] if len(reasons) == 1 else _none_fits(form, reasons)
    files = write_folder(out, partial(made.write, fitting, dataset))
    if not files:
        none = HarnessError(f"The runs in {runs} hold no answers.", code=Exit.MISSING)
        raise broken[0] if broken else none
    notes = tuple(said for run in fitting if (said := made.note(run)))
    return Export("", files, (*broken, *reasons), notes)


def _none_fits(form: str, reasons: Sequence[HarnessError]) -> HarnessError:
    """The error that names every run, and why it is left out."""
    return HarnessError(
        f"--format {form}: none of the {len(reasons)} runs can be written.",
        known="\n".join(reason.what for reason in reasons),
    )


def _only(material: Material, task: str) -> tuple[Material, Collection[str]]:
    """The runs of a task, or of a group's tasks, with their tasks where they are files of a user's;
    and the names of these tasks."""
    asked = [entry.task for entry in load_group(task).entries] if is_group(task) else [task]
    own = [load_task(name) for name in asked if name.endswith(".py")]
    names = [*(name for name in asked if not name.endswith(".py")), *(each.name for each in own)]
    chosen = [run for run in material.runs if run.record.task.name in names]
    by_name = {each.name: each for each in own}
    runs = [replace(run, task=by_name.get(run.record.task.name, run.task)) for run in chosen]
    return replace(material, runs=runs), names


def _tables(material: Material, names: Collection[str] | None, there: set[str]) -> list[Table]:
    """The tables of the page, models by tasks first; or those of the tasks with these names.

    Args:
        there: the tasks of all runs, for the error.
    """
    found = _sections(material, names, there)
    first = overview(found) if names is None or len(names) > 1 else None
    return [*([first] if first else ()), *(table for each in found for table in each.tables)]


def _document(text: str, out: Path | None, broken: Sequence[HarnessError]) -> Export:
    if out is None:
        return Export(text, (), tuple(broken))
    write_document(out, text)
    return Export("", (out,), tuple(broken))


def _sections(
    material: Material, names: Collection[str] | None, there: set[str]
) -> Sequence[TaskSection]:
    """The page's sections, all of them or those of the tasks with these names."""
    answers = {each.run: each for run in material.runs if (each := read(run))}
    found = sections(material.records, answers)
    if names is None:
        return found
    named = [section for section in found if section.name in names]
    if not named:
        known = sorted({section.name for section in found} | there)
        raise HarnessError(
            f"--task {', '.join(names)}: there is no run of it, and the paper has no table of it.",
            known=f"There are tables of {', '.join(known)}.",
        )
    return named


def _no_run(task: str | None, runs: Path) -> HarnessError:
    of = f" of {task}" if task else ""
    return HarnessError(
        f"There is no run{of} in {runs}.",
        remedy="harness eval makes one; harness list runs shows what there is.",
        code=Exit.MISSING,
    )
