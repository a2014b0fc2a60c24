"""Scenes as pictures.

Each thing is drawn once, four times as large, reduced, and kept; a picture is put together from
those.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from harness.synthetic.backdrops import BACKDROPS
from harness.synthetic.pen import CELL, PAPER, SIZE, Pen
from harness.synthetic.scenes import Scene
from harness.synthetic.things import THINGS, WIDE

if TYPE_CHECKING:
    from PIL.Image import Image


def draw(scene: Scene) -> Image:
    """The picture of a scene, `SIZE` pixels wide and high, RGB."""
    picture = _backdrop(scene.backdrop).copy()
    for mark in scene.marks:
        thing, mask = _thing(mark.shape, mark.colour)
        picture.paste(thing, (mark.column * CELL, mark.row * CELL), mask)
    return picture


@lru_cache(maxsize=256)
def _thing(shape: str, colour: str) -> tuple[Image, Image]:
    """What a thing looks like, and where it is opaque."""
    pen = Pen(SIZE if shape in WIDE else CELL, CELL)
    THINGS[shape](pen, colour)
    picture = pen.picture()
    return picture.convert("RGB"), picture.getchannel("A")


@lru_cache(maxsize=32)
def _backdrop(name: str) -> Image:
    pen = Pen(SIZE, SIZE, PAPER)
    BACKDROPS[name](pen)
    return pen.picture().convert("RGB")
