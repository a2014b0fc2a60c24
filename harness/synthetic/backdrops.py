"""The backdrops of pictures, one function for each."""

from __future__ import annotations

from collections.abc import Callable

from harness.synthetic.pen import CELL, PALETTE, PAPER, SIZE, Pen
from harness.synthetic.scenes import GRID


def _grid(pen: Pen, colour: str, *, rows: bool = True, columns: bool = True) -> None:
    for at in range(1, GRID):
        if rows:
            pen.box(0, at * CELL - 0.5, SIZE, at * CELL + 0.5, colour)
        if columns:
            pen.box(at * CELL - 0.5, 0, at * CELL + 0.5, SIZE, colour)


def _sea(pen: Pen) -> None:
    pen.box(0, 0, SIZE, SIZE, "#d9ebf3")
    _grid(pen, "#c3dce8")


def _pond(pen: Pen) -> None:
    pen.box(0, 0, SIZE, SIZE, "#dff0ee")
    _grid(pen, "#c8e2de", columns=False)


def _bench(pen: Pen) -> None:
    _grid(pen, "#e7e3da", columns=False)


def _sky(pen: Pen) -> None:
    pen.box(0, 0, SIZE, SIZE, "#dcecf7")
    for x, y in ((30, 34), (182, 26)):
        for dx, r in ((0, 9), (14, 13), (30, 9)):
            pen.disc(x + dx, y, r, "#f6fafd")
        pen.box(x - 9, y, x + 39, y + 9, "#f6fafd", round_by=4)


def _chart(pen: Pen) -> None:
    _grid(pen, "#dedad1", columns=False)


def _parchment(pen: Pen) -> None:
    pen.box(0, 0, SIZE, SIZE, "#f3ead3")
    _grid(pen, "#e6d9ba")
    pen.box(0, 3 * CELL, SIZE, SIZE, PAPER)
    pen.box(0, 3 * CELL - 1, SIZE, 3 * CELL + 1, "#b9a577")
    pen.line(((8, 250), (244, 250)), "#b9a577", 2)
    pen.shape(((252, 250), (242, 245), (242, 255)), "#b9a577")


def _table(pen: Pen) -> None:
    """A checked cloth, seen from above."""
    pen.box(0, 0, SIZE, SIZE, "#f4ece0")
    for at in range(GRID):
        start, end = at * CELL - 9, at * CELL + 9
        pen.box(start, 0, end, SIZE, "#ecdfcb")
        pen.box(0, start, SIZE, end, "#ecdfcb")
    for row in range(GRID + 1):
        for column in range(GRID + 1):
            x, y = column * CELL, row * CELL
            pen.box(x - 9, y - 9, x + 9, y + 9, "#e1cfb2")


def _streets(pen: Pen) -> None:
    pen.box(0, 0, SIZE, SIZE, "#eceae4")
    for at in range(GRID):
        middle = at * CELL + CELL / 2
        pen.box(0, middle - 6, SIZE, middle + 6, PALETTE["white"])
        pen.box(middle - 6, 0, middle + 6, SIZE, PALETTE["white"])


def _tank(pen: Pen, water: str) -> None:
    pen.box(0, 0, SIZE, SIZE, water)
    pen.box(0, SIZE - 14, SIZE, SIZE, "#d8c08c")
    for at in range(16):
        pen.disc(8 + 16 * at, SIZE - 13, 6, "#d8c08c")


BACKDROPS: dict[str, Callable[[Pen], None]] = {
    "sea": _sea,
    "pond": _pond,
    "bench": _bench,
    "sky": _sky,
    "chart": _chart,
    "shelf": _bench,
    "lab": lambda _pen: None,
    "parchment": _parchment,
    "table": _table,
    "streets": _streets,
    "tank-clear": lambda pen: _tank(pen, "#cfe8f5"),
    "tank-green": lambda pen: _tank(pen, "#b7d68f"),
}
