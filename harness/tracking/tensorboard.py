"""TensorBoard: an event file for each process that works on a run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.files.paths import safe_name
from harness.tracking.tracker import Cell, Picture, Start, Table, TrackedRun


def start(run: TrackedRun, start: Start) -> TensorBoardTracker:
    """Begin an event file in the run's folder."""
    from torch.utils.tensorboard import SummaryWriter

    name = f"{safe_name(run.name)}-{start.id}"
    folder = run.folder / "tensorboard" / safe_name(run.project) / name
    writer = SummaryWriter(str(folder), purge_step=start.step + 1)
    tracker = TensorBoardTracker(writer, folder)
    rows = [(key, _text(value)) for key, value in _flat(start.configuration)]
    tracker.log_table("configuration", Table(columns=("name", "value"), rows=rows), step=start.step)
    return tracker


class TensorBoardTracker:
    """One event file. TensorBoard shows text as Markdown: it gets every text with its marks as
    entities."""

    def __init__(self, writer: Any, folder: Path) -> None:
        self._writer = writer
        self.place = str(folder)

    def log_metrics(self, values: Mapping[str, float], *, step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def log_pictures(self, name: str, pictures: Sequence[Picture], *, step: int) -> None:
        import numpy as np

        for number, picture in enumerate(pictures):
            pixels = np.asarray(picture.image.convert("RGB"))
            self._writer.add_image(f"{name}/{number:03}", pixels, step, dataformats="HWC")
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
        self._writer.add_text(name, text, step)

    def close(self, *, failed: bool) -> None:
        del failed  # an event file does not say
        self._writer.close()


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
