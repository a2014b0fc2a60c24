"""A pen that draws in units of a grid cell, in colours of one palette.

Nothing depends on a font or on the platform: the same calls make the same pixels everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.synthetic.scenes import GRID

if TYPE_CHECKING:
    from PIL.Image import Image

CELL = 64
"""Pixels of a cell's side, and the units in which things are drawn."""
SIZE = CELL * GRID
FINE = 4
"""Pixels that become one."""

PAPER, INK = "#fbfaf7", "#262a33"
PALETTE = {
    "red": "#d23a2e",
    "blue": "#2c6bd1",
    "green": "#2f9a4f",
    "yellow": "#f0b41a",
    "purple": "#8a46bd",
    "black": "#2b2d35",
    "white": "#fffdf8",
    "ink": INK,
    "leaf": "#4f9a3d",
    "clay": "#b96b45",
}

Point = tuple[float, float]


class Pen:
    """Draws in units of a cell, whatever the scale."""

    def __init__(self, width: int, height: int, ground: str | None = None) -> None:
        from PIL import Image, ImageDraw

        size = width * FINE, height * FINE
        self._image = Image.new("RGBA", size, ground or (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self._image)

    def picture(self) -> Image:
        return self._image.reduce(FINE)

    def disc(self, x: float, y: float, r: float, fill: str, ry: float | None = None) -> None:
        ry = r if ry is None else ry
        self._draw.ellipse(_scaled((x - r, y - ry), (x + r, y + ry)), fill=fill)

    def ring(self, x: float, y: float, r: float, line: str, width: float) -> None:
        box = _scaled((x - r, y - r), (x + r, y + r))
        self._draw.ellipse(box, outline=line, width=round(width * FINE))

    def box(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        fill: str,
        *,
        round_by: float = 0,
    ) -> None:
        corners = _scaled((left, top), (right - 1 / FINE, bottom - 1 / FINE))
        self._draw.rounded_rectangle(corners, radius=round_by * FINE, fill=fill)

    def shape(self, points: Sequence[Point], fill: str) -> None:
        self._draw.polygon(_scaled(*points), fill=fill)

    def line(self, points: Sequence[Point], fill: str, width: float) -> None:
        self._draw.line(_scaled(*points), fill=fill, width=round(width * FINE), joint="curve")
        for x, y in (points[0], points[-1]):
            self.disc(x, y, width / 2, fill)


def _scaled(*points: Point) -> list[Point]:
    """Whole pixels: how the library rounds is not left to it."""
    return [(round(x * FINE), round(y * FINE)) for x, y in points]


def lighter(colour: str) -> str:
    """The colour half way to white."""
    parts = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{(part + 255) // 2:02x}" for part in parts)
