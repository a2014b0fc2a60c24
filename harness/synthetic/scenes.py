"""What a picture shows, as plain data: things in the cells of a grid of four by four.

A cell is a quarter of the picture's width, so that reduced to 64 pixels it is one patch of 16: the
smallest vision encoders see each thing in a token of its own. A question is about the scene, the
drawing is made of nothing else, and so the answer can be worked out again from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, NamedTuple

GRID = 4
COLOURS = ("red", "blue", "green", "yellow", "purple", "black")

Split = Literal["train", "validation", "test"]


class Mark(NamedTuple):
    """One thing in one cell; where two are in the same cell the later lies on the other."""

    shape: str
    colour: str
    row: int
    """0 is the top."""
    column: int
    """0 is the left."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A whole picture."""

    backdrop: str
    marks: tuple[Mark, ...]

    @property
    def split(self) -> Split:
        """The one split that may ask about this scene: its hash decides, so that no picture is in
        two of them. Six in ten are for training, two in ten for each of the others."""
        share = sha256(repr((self.backdrop, sorted(self.marks))).encode()).digest()[0] % 10
        return "train" if share < 6 else "validation" if share < 8 else "test"

    def at(self, row: int, column: int) -> list[Mark]:
        """What is in a cell, the lowest first."""
        return [mark for mark in self.marks if (mark.row, mark.column) == (row, column)]
