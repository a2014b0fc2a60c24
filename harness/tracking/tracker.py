"""What a tracker does, and what it is given: metrics at a step, pictures, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from harness.core.tracking_options import TrackingOptions

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and its caption, which is plain text."""

    image: Image
    caption: str = ""


Cell: TypeAlias = str | float | Picture | None
"""A text is data: a tracker shows it as it is, never as Markdown or HTML."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells; the cells of a column are of one type, or None."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


class Tracker(Protocol):
    """One run in one tracker. Whatever is raised is caught by `harness.tracking.trackers`."""

    @property
    def place(self) -> str:
        """Where the run is shown, or where its files are."""

    def log_metrics(self, values: Mapping[str, float], *, step: int) -> None: ...

    def log_pictures(self, name: str, pictures: Sequence[Picture], *, step: int) -> None: ...

    def log_table(self, name: str, table: Table, *, step: int) -> None: ...

    def close(self, *, failed: bool) -> None:
        """Write what is not written yet. Nothing is logged afterwards.

        Args:
            failed: the run has ended with an error, or was interrupted.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedRun:
    """A run as its trackers know it."""

    options: TrackingOptions
    task: str
    name: str
    axis: str
    """The name of the metric that a step counts."""
    home: Path
    """The run's own folder."""
    runs: Path
    """The folder of all runs."""

    @property
    def project(self) -> str:
        """The project, unless the tracker has another default."""
        return self.options.project or self.task

    @property
    def folder(self) -> Path:
        """For a tracker's files, unless the tracker has another default."""
        return self.options.folder or (self.options.runs or self.runs) / "tracking"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How this process begins to track a run."""

    id: str
    """The run's, by which a later process finds it again."""
    resumed: bool
    """Whether an earlier process has tracked this run."""
    step: int
    """The last one of earlier processes: what the tracker has of later ones is outdated."""
    configuration: Mapping[str, Any]
