"""The export formats, one module each; a new format is a file here and an entry below.

A table format (CSV, Markdown, LaTeX, JSON) turns the page's `reports.tables.table.Table` objects
into one text; a folder format (lm-eval, the Hub, Every Eval Ever, a submission) turns runs and
their predictions into files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.core.files.paths import safe_name
from reports.export.formats import (
    delimited,
    every_eval_ever,
    hugging_face,
    json_document,
    latex,
    lm_eval,
    markdown,
    submission,
)
from reports.export.run_files import File
from reports.inputs.material import RunData
from reports.tables.table import Table


@dataclass(frozen=True, slots=True)
class TableFormat:
    """A format that holds any number of tables in one text."""

    title: str
    """As people call it."""
    suffix: str
    """Of its files."""
    mime: str
    write: Callable[[Sequence[Table]], str]
    """Tables -> the whole text; the same tables give the same text."""


TABLE_FORMATS: Mapping[str, TableFormat] = {
    "csv": TableFormat("CSV", ".csv", "text/csv", delimited.write),
    "markdown": TableFormat("Markdown", ".md", "text/markdown", markdown.write),
    "latex": TableFormat("LaTeX", ".tex", "application/x-tex", latex.write),
    "json": TableFormat("JSON", ".json", "application/json", json_document.write),
}


@dataclass(frozen=True, slots=True)
class FolderFormat:
    """A format of several files, made of runs and their answers."""

    title: str
    write: Callable[[Sequence[RunData], str | None], Iterator[File]]
    """(runs, the hub's data set that their questions are, where the user says it) -> the files."""
    unfit: Callable[[RunData, str | None], str] = lambda _run, _dataset: ""
    """Why a run cannot be written; empty: it can."""
    note: Callable[[RunData], str] = lambda _run: ""
    """What whoever uses the files has to know of a run."""


FOLDER_FORMATS: Mapping[str, FolderFormat] = {
    "lm-eval": FolderFormat("lm-evaluation-harness", lm_eval.write),
    "hf": FolderFormat("Hugging Face", hugging_face.write, hugging_face.unfit),
    "every-eval-ever": FolderFormat("Every Eval Ever", every_eval_ever.write),
    "submission": FolderFormat("Submission", submission.write, submission.unfit, submission.note),
}


@dataclass(frozen=True, slots=True)
class Download:
    """A table as a file."""

    title: str
    """The format, as people call it."""
    name: str
    """A file name that is safe everywhere."""
    mime: str
    text: str


def downloads(table: Table) -> tuple[Download, ...]:
    """`table` in every format of tables, for links next to it."""
    stem = safe_name(table.id)
    return tuple(
        Download(each.title, f"{stem}{each.suffix}", each.mime, each.write([table]))
        for each in TABLE_FORMATS.values()
    )
