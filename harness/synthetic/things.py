"""The things that stand in the cells of a picture: one function for each shape."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin

from harness.synthetic.pen import CELL, INK, PALETTE, PAPER, SIZE, Pen, Point, lighter


def _star(pen: Pen, colour: str) -> None:
    points = []
    for corner in range(10):
        r = 22 if corner % 2 == 0 else 9
        angle = pi * corner / 5 - pi / 2
        points.append((32 + r * cos(angle), 34 + r * sin(angle)))
    pen.shape(points, PALETTE[colour])


def _circle(pen: Pen, colour: str) -> None:
    pen.disc(32, 32, 17, PALETTE[colour])


def _square(pen: Pen, colour: str) -> None:
    pen.box(16, 16, 48, 48, PALETTE[colour])


def _triangle(pen: Pen, colour: str) -> None:
    pen.shape(((32, 11), (53, 48), (11, 48)), PALETTE[colour])


def _cross(pen: Pen, colour: str) -> None:
    pen.box(26, 11, 38, 53, PALETTE[colour])
    pen.box(11, 26, 53, 38, PALETTE[colour])


def _land(pen: Pen, colour: str) -> None:
    pen.box(2, 2, 62, 62, PALETTE[colour], round_by=9)


def _mountain(pen: Pen, colour: str) -> None:
    pen.shape(((26, 12), (48, 50), (6, 50)), PALETTE[colour])
    pen.shape(((44, 26), (59, 50), (36, 50)), PALETTE[colour])


def _lake(pen: Pen, colour: str) -> None:
    for y in (20, 32, 44):
        points = [(x, y + 4 * sin((x - 10) * pi / 11)) for x in range(10, 55, 2)]
        pen.line(points, PALETTE[colour], 6)


def _town(pen: Pen, colour: str) -> None:
    pen.shape(((32, 10), (54, 30), (10, 30)), PALETTE[colour])
    pen.box(15, 30, 27, 52, PALETTE[colour])
    pen.box(37, 30, 49, 52, PALETTE[colour])
    pen.box(15, 30, 49, 38, PALETTE[colour])


def _forest(pen: Pen, colour: str) -> None:
    for x in (19, 45):
        pen.disc(x, 26, 12, PALETTE[colour], 15)
        pen.box(x - 3, 38, x + 3, 53, PALETTE[colour])


def _fish(pen: Pen, colour: str) -> None:
    pen.disc(35, 32, 22, PALETTE[colour], 15)
    pen.shape(((18, 32), (3, 17), (3, 47)), PALETTE[colour])
    pen.disc(46, 27, 4.5, PALETTE["white"])
    pen.disc(47, 27, 2.2, INK)


def _arrow(pen: Pen, colour: str) -> None:
    pen.line(((8, 32), (44, 32)), PALETTE[colour], 7)
    pen.shape(((58, 32), (38, 17), (38, 47)), PALETTE[colour])


def _magnet(pen: Pen, ends: str) -> None:
    left, right = ("red", "blue") if ends == "north-left" else ("blue", "red")
    pen.box(3, 16, 61, 48, PALETTE[right], round_by=6)
    pen.box(3, 16, 24, 48, PALETTE[left], round_by=6)
    pen.box(16, 16, 32, 48, PALETTE[left])
    for x, colour in ((17, left), (47, right)):
        _letter(pen, x, "N" if colour == "red" else "S")


def _gap(pen: Pen, colour: str) -> None:
    """What lies between two magnets of a pair."""
    for x in (10, 32, 54):
        pen.line(((x - 5, 32), (x + 5, 32)), PALETTE[colour], 2.5)


def _letter(pen: Pen, x: float, letter: str) -> None:
    """N or S, for people: at 64 pixels the colours say it."""
    if letter == "N":
        points: list[Point] = [(x - 4, 38), (x - 4, 26), (x + 4, 38), (x + 4, 26)]
    else:
        points = [(x + 4, 27.5), (x, 26), (x - 4, 28.5), (x + 4, 35), (x, 38), (x - 4, 36.5)]
    pen.line(points, PALETTE["white"], 2.6)


def _layer(pen: Pen, colour: str) -> None:
    pen.box(0, 0, SIZE, CELL, PALETTE[colour])
    light = lighter(PALETTE[colour])
    pen.box(0, 0, SIZE, 2, light)
    for at in range(11):
        x, y = 12 + 24 * at, 12 + (at * 29) % 44
        pen.disc(x, y, 2, light)


def _shell(pen: Pen, colour: str) -> None:
    pen.disc(32, 30, 20, PALETTE[colour])
    pen.box(26, 44, 38, 54, PALETTE[colour], round_by=2)
    for dx in (-11, 0, 11):
        pen.line(((32, 48), (32 + dx, 18)), INK, 2.4)


def _leaf(pen: Pen, colour: str) -> None:
    edge = [(16 * sin(pi * t / 20), 7 + 43 * t / 20) for t in range(21)]
    right, left = [(32 + x, y) for x, y in edge], [(32 - x, y) for x, y in reversed(edge)]
    pen.shape(right + left, PALETTE[colour])
    pen.line(((32, 18), (32, 57)), INK, 2.4)


def _bone(pen: Pen, colour: str) -> None:
    pen.line(((18, 32), (46, 32)), PALETTE[colour], 9)
    for x in (13, 51):
        for y in (24, 40):
            pen.disc(x, y, 8.5, PALETTE[colour])


def _tooth(pen: Pen, colour: str) -> None:
    pen.shape(((11, 12), (53, 12), (46, 54), (38, 34), (26, 34), (18, 54)), PALETTE[colour])


def _bar(pen: Pen, colour: str) -> None:
    pen.box(7, 0, 57, CELL, PALETTE[colour])
    pen.box(7, 0, 57, 2, lighter(PALETTE[colour]))


def _sun(pen: Pen, _colour: str) -> None:
    for corner in range(8):
        x, y = cos(pi * corner / 4), sin(pi * corner / 4)
        pen.line(((32 + 20 * x, 32 + 20 * y), (32 + 27 * x, 32 + 27 * y)), PALETTE["yellow"], 5)
    pen.disc(32, 32, 15, PALETTE["yellow"])


def _moon(pen: Pen, _colour: str) -> None:
    pen.box(2, 2, 62, 62, "#39435f", round_by=9)
    outer = [(30 + 19 * cos(a * pi / 30), 32 + 19 * sin(a * pi / 30)) for a in range(10, 51)]
    inner = [(44 + 19 * cos(a * pi / 30), 32 + 19 * sin(a * pi / 30)) for a in range(42, 17, -1)]
    pen.shape(outer + inner, "#f6ecc8")


def _drop(pen: Pen, _colour: str) -> None:
    pen.disc(32, 40, 16, PALETTE["blue"])
    pen.shape(((32, 6), (46.5, 33), (17.5, 33)), PALETTE["blue"])


def _plant(pen: Pen, colour: str) -> None:
    pen.line(((32, 64), (32, 26)), PALETTE[colour], 5)
    pen.disc(20, 34, 12, PALETTE[colour], 8)
    pen.disc(44, 34, 12, PALETTE[colour], 8)
    pen.disc(32, 18, 9, PALETTE[colour], 13)


def _pot(pen: Pen, colour: str) -> None:
    pen.shape(((9, 10), (55, 10), (48, 60), (16, 60)), PALETTE[colour])
    pen.box(5, 2, 59, 16, PALETTE[colour], round_by=3)


_LIQUID = "#3b8fd6"
_DOTS: dict[str, tuple[Point, ...]] = {
    "0": (),
    "1": ((32, 32),),
    "2": ((19, 20), (45, 44)),
    "3": ((18, 20), (46, 20), (32, 46)),
}


def _glass(pen: Pen, dots: str, *, bottom: bool = False) -> None:
    pen.box(4, 0, 60, 61 if bottom else CELL, "#ffffff")
    if dots != "0":
        pen.box(7, 0, 57, 58 if bottom else CELL, _LIQUID)
        pen.box(7, 0, 57, 2, lighter(_LIQUID))
    for x, y in _DOTS[dots]:
        pen.disc(x, y, 9, PALETTE["white"])
    pen.line(((5.5, 0), (5.5, 62 if bottom else CELL)), INK, 3)
    pen.line(((58.5, 0), (58.5, 62 if bottom else CELL)), INK, 3)
    if bottom:
        pen.line(((5.5, 60), (58.5, 60)), INK, 3)


def _stopper(pen: Pen, colour: str) -> None:
    pen.box(12, 12, 52, 62, PALETTE[colour], round_by=4)
    pen.box(2, 8, 62, 34, PALETTE[colour], round_by=5)
    pen.line(((5.5, 42), (5.5, CELL)), INK, 3)
    pen.line(((58.5, 42), (58.5, CELL)), INK, 3)


def _bloom(pen: Pen, colour: str) -> None:
    pen.line(((32, 40), (32, 64)), PALETTE["leaf"], 5)
    for corner in range(6):
        angle = pi * corner / 3
        pen.disc(32 + 15 * cos(angle), 28 + 15 * sin(angle), 11, PALETTE[colour])
    pen.disc(32, 28, 9, PALETTE["white"])


def _stem(pen: Pen, condition: str) -> None:
    colour = "#a9803f" if condition == "dry" else PALETTE["leaf"]
    pen.line(((32, 0), (32, 64)), colour, 5)
    sag = 12 if condition == "dry" else -6
    for side in (-1, 1):
        x = 32 + 15 * side
        pen.line(((32, 40), (x, 34 + sag / 2)), colour, 4)
        pen.disc(x, 32 + sag, 15, colour, 11)
        if condition == "spotted":
            for dx, dy in ((-5, -2), (5, 3)):
                pen.disc(x + dx, 32 + sag + dy, 4, INK)
        if condition == "eaten":
            pen.disc(x + 7 * side, 25 + sag, 7, PAPER)
            pen.disc(x - 3 * side, 35 + sag, 4.5, PAPER)


def _bread(pen: Pen, _: str) -> None:
    pen.box(10, 20, 54, 54, "#c98a45", round_by=6)
    pen.disc(32, 24, 25, "#c98a45", 13)
    pen.box(15, 24, 49, 49, "#f2d9a8", round_by=5)
    pen.disc(32, 26, 20, "#f2d9a8", 9)


def _rice(pen: Pen, _: str) -> None:
    pen.disc(32, 28, 20, PALETTE["white"], 14)
    for x, y in ((22, 24), (32, 19), (41, 25), (29, 27)):
        pen.line(((x, y), (x + 4, y - 2)), "#cfc7b3", 2)
    pen.shape(((6, 30), (58, 30), (46, 56), (18, 56)), PALETTE["blue"])


def _tomato(pen: Pen, _: str) -> None:
    pen.disc(32, 35, 22, PALETTE["red"], 20)
    for dx in (-10, 0, 10):
        pen.line(((32, 17), (32 + dx, 11 if dx == 0 else 20)), PALETTE["leaf"], 5)


def _carrot(pen: Pen, _: str) -> None:
    pen.shape(((18, 18), (46, 18), (34, 60), (30, 60)), "#ee7f1e")
    for dx in (-9, 0, 9):
        pen.line(((32, 18), (32 + dx, 6)), PALETTE["leaf"], 5)


def _egg(pen: Pen, _: str) -> None:
    pen.disc(32, 35, 18, "#e3d3bd", 22)
    pen.disc(32, 35, 16, "#fdf3e4", 20)


def _cheese(pen: Pen, _: str) -> None:
    pen.shape(((6, 34), (46, 12), (58, 34)), "#f8d766")
    pen.box(6, 34, 58, 54, PALETTE["yellow"])
    for x, y, r in ((20, 44, 5), (40, 46, 4), (50, 40, 3)):
        pen.disc(x, y, r, "#d79a0d")


def _mushroom(pen: Pen, _: str) -> None:
    pen.box(22, 28, 42, 58, "#cdbb9d", round_by=6)
    pen.box(24, 28, 40, 56, "#fdf6e9", round_by=5)
    cap = [(32 + 26 * cos(pi * t / 20), 36 - 28 * sin(pi * t / 20)) for t in range(21)]
    pen.shape(cap, "#94604a")
    for x, y, r in ((24, 26, 4), (38, 20, 4), (44, 30, 3)):
        pen.disc(x, y, r, "#fdf6e9")


def _train(pen: Pen, colour: str) -> None:
    pen.box(16, 10, 48, 46, PALETTE[colour], round_by=7)
    pen.box(21, 16, 43, 28, INK, round_by=2)
    for x in (24, 40):
        pen.disc(x, 38, 4, INK)
    pen.line(((18, 56), (23, 48)), PALETTE[colour], 4)
    pen.line(((46, 56), (41, 48)), PALETTE[colour], 4)


def _weed(pen: Pen, colour: str) -> None:
    for x, top in ((18, 18), (32, 6), (46, 22)):
        points = [(x + 5 * sin((y - top) / 7), y) for y in range(top, 62, 3)]
        pen.line([*points, (32, 64)], PALETTE[colour], 6)


def _cloudlet(pen: Pen, y: float) -> None:
    for x, up, r in ((18, 0, 11), (32, 6, 15), (47, 0, 10)):
        pen.disc(x, y - up, r, "#8d97a8")
    pen.box(9, y, 55, y + 10, "#8d97a8", round_by=5)


def _cloud(pen: Pen, _: str) -> None:
    _cloudlet(pen, 34)


def _rain(pen: Pen, _: str) -> None:
    _cloudlet(pen, 24)
    for x in (18, 32, 46):
        pen.line(((x + 3, 41), (x - 3, 57)), PALETTE["blue"], 5)


def _snow(pen: Pen, _: str) -> None:
    pen.box(2, 2, 62, 62, PALETTE["blue"], round_by=9)
    for corner in range(3):
        x, y = 21 * cos(pi * corner / 3 + pi / 6), 21 * sin(pi * corner / 3 + pi / 6)
        pen.line(((32 - x, 32 - y), (32 + x, 32 + y)), PALETTE["white"], 6)


THINGS: dict[str, Callable[[Pen, str], None]] = {
    "star": _star,
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "cross": _cross,
    "land": _land,
    "mountain": _mountain,
    "lake": _lake,
    "town": _town,
    "forest": _forest,
    "fish": _fish,
    "arrow": _arrow,
    "magnet": _magnet,
    "layer": _layer,
    "shell": _shell,
    "leaf": _leaf,
    "bone": _bone,
    "gap": _gap,
    "tooth": _tooth,
    "bar": _bar,
    "sun": _sun,
    "moon": _moon,
    "drop": _drop,
    "plant": _plant,
    "pot": _pot,
    "glass": _glass,
    "glass-bottom": lambda pen, dots: _glass(pen, dots, bottom=True),
    "stopper": _stopper,
    "bloom": _bloom,
    "stem": _stem,
    "bread": _bread,
    "rice": _rice,
    "tomato": _tomato,
    "carrot": _carrot,
    "egg": _egg,
    "cheese": _cheese,
    "mushroom": _mushroom,
    "train": _train,
    "weed": _weed,
    "cloud": _cloud,
    "rain": _rain,
    "snow": _snow,
}
WIDE = {"layer"}
"""Things that are as wide as a whole row of cells."""
