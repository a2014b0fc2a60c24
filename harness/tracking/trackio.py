"""Trackio: a local database, or the Space or server that TRACKIO_SPACE_ID or TRACKIO_SERVER_URL
names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.tracking.tracker import Cell, Picture, Start, Table, TrackedRun


def start(run: TrackedRun, start: Start) -> TrackioTracker:
    """Begin a run, or resume the newest one of its name."""
    if run.options.folder is not None:  # read when trackio is imported
        os.environ["TRACKIO_DIR"] = str(run.options.folder.absolute() / "trackio")
    with _silent():
        import trackio

        trackio.utils.TRACKIO_DIR.mkdir(parents=True, exist_ok=True)  # each call would warn
        made = trackio.init(
            project=run.project,
            name=run.name,
            resume="allow" if start.resumed else "never",
            config=dict(start.configuration),
            embed=False,
        )
        return TrackioTracker(made, place=str(made.url or trackio.utils.TRACKIO_DIR))


class TrackioTracker:
    """One run. Trackio shows texts as they are."""

    def __init__(self, run: Any, *, place: str) -> None:
        self._run = run
        self.place = place

    def log_metrics(self, values: Mapping[str, float], *, step: int) -> None:
        self._run.log(dict(values), step=step)

    def log_pictures(self, name: str, pictures: Sequence[Picture], *, step: int) -> None:
        made = {f"{name}/{number:03}": _cell(each) for number, each in enumerate(pictures)}
        self._run.log(made, step=step)

    def log_table(self, name: str, table: Table, *, step: int) -> None:
        import trackio

        rows = [[_cell(cell) for cell in row] for row in table.rows]
        made = trackio.Table(columns=list(table.columns), data=rows)
        self._run.log({name: made}, step=step)

    def close(self, *, failed: bool) -> None:
        del failed  # trackio does not say
        from trackio import context_vars

        with _silent():
            self._run.finish()
        if context_vars.current_run.get() is self._run:
            context_vars.current_run.set(None)  # else it is finished again, and says so on stdout


def _cell(cell: Cell) -> Any:
    if not isinstance(cell, Picture):
        return cell
    import trackio

    return trackio.Image(cell.image, caption=cell.caption or None)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Drop what trackio prints: stdout is the command's own."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
