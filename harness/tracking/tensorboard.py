"""TensorBoard: an event file for each process that works on a run."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.files.paths import safe_name
from harness.tracking.tracker import Cell, Picture, Start, Table, TrackedRun

_NUMBERS = itertools.count()
"""Of the event files of this process: several may begin in one second."""


def start(run: TrackedRun, start: Start) -> TensorBoardTracker:
    """Begin an event file in the run's folder."""
    name = f"{safe_name(run.name)}-{start.id}"
    folder = run.folder / "tensorboard" / safe_name(run.project) / name
    tracker = TensorBoardTracker(EventFile(folder, first=start.step + 1), folder)
    rows = [(key, _text(value)) for key, value in _flat(start.configuration)]
    tracker.log_table("configuration", Table(columns=("name", "value"), rows=rows), step=start.step)
    return tracker


class EventFile:
    """A file of TensorBoard's events, each written at once. SummaryWriter leaves that to a thread,
    where a full disk is no error of the caller's.

    Args:
        first: TensorBoard leaves out what files before this one have from that step on.
    """

    def __init__(self, folder: Path, *, first: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns() // 10**9}.{os.getpid()}.{next(_NUMBERS)}"
        self._event = Event
        self._file = RecordWriter((folder / name).open("xb"))
        self.add(0, file_version="brain.Event:2")
        self.add(first, session_log=SessionLog(status=SessionLog.START))

    def add(self, step: int, **what: Any) -> None:
        """Write one event."""
        event = self._event(wall_time=time.time(), step=step, **what)
        self._file.write(event.SerializeToString())
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class TensorBoardTracker:
    """One event file. TensorBoard shows text as Markdown: it gets every text with its marks as
    entities."""

    def __init__(self, events: EventFile, folder: Path) -> None:
        self._events = events
        self.place = str(folder)

    def log_metrics(self, values: Mapping[str, float], *, step: int) -> None:
        for name, value in values.items():
            self._events.add(step, summary=_summary().scalar(name, value))

    def log_pictures(self, name: str, pictures: Sequence[Picture], *, step: int) -> None:
        import numpy as np

        for number, picture in enumerate(pictures):
            pixels = np.asarray(picture.image.convert("RGB"))
            made = _summary().image(f"{name}/{number:03}", pixels, dataformats="HWC")
            self._events.add(step, summary=made)
        if any(picture.caption for picture in pictures):
            rows = [[f"{number:03}", each.caption] for number, each in enumerate(pictures)]
            self._add_table(name, ("picture", "caption"), rows, step)

    def log_table(self, name: str, table: Table, *, step: int) -> None:
        pictures: list[Picture] = []
        rows = [[_row_cell(cell, pictures) for cell in row] for row in table.rows]
        self._add_table(name, table.columns, rows, step)
        self.log_pictures(name, [Picture(each.image) for each in pictures], step=step)

    def _add_table(
        self, name: str, columns: Sequence[str], rows: Sequence[Sequence[str]], step: int
    ) -> None:
        lines = [columns, ["---"] * len(columns), *([*map(plain, row)] for row in rows)]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        self._events.add(step, summary=_summary().text(name, text))

    def close(self, *, failed: bool) -> None:
        del failed  # an event file does not say
        self._events.close()


def _summary() -> Any:
    """The module that makes what an event holds, which has no types."""
    from torch.utils.tensorboard import summary

    return summary


def _row_cell(cell: Cell, pictures: list[Picture]) -> str:
    """A cell as text; a picture, which is added to `pictures`, as its number there."""
    if isinstance(cell, Picture):
        pictures.append(cell)
        return f"{len(pictures) - 1:03}"
    return _text(cell)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def plain(text: str) -> str:
    """The text in Markdown that shows it as it is, in one line: neither Markdown nor HTML has a
    meaning for an entity."""
    return re.sub(r"[^\w\s.,]|_", lambda found: f"&#{ord(found[0])};", " ".join(text.split()))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
