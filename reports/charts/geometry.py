"""The geometry of charts: scales, ticks, and numbers that cover nothing.

All charts of the page share one frame, in units that the template's SVG has too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 50, 22, 34, 56
"""The frame's distances from the edges of the drawing."""
DOT = 8.0
"""Radius around a point that is kept free."""
_LABEL = (26.0, 20.0)
"""Width and height of a number of two digits at the width of a phone, where it is largest."""

Place = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
Scale = Callable[[float], float]
Ticks = list[tuple[float, str]]
"""Place and text of each."""


def logarithmic(values: Sequence[float]) -> tuple[Scale, Ticks]:
    """A scale across that has all of `values`, which are positive, within its frame."""
    low, high = math.log10(min(values)), math.log10(max(values))
    margin = max(0.12 * (high - low), 0.1)
    low, high = low - margin, high + margin

    def place(value: float) -> float:
        return LEFT + (math.log10(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        powers = range(math.floor(low), math.ceil(high) + 1)
        ticks = [step * 10.0**power for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
        if len(ticks) >= 3:
            break
    return place, [(place(tick), _short(tick)) for tick in ticks]


def _short(value: float) -> str:
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


def upwards(highest: float) -> tuple[Scale, Ticks]:
    """A scale from 0 at the bottom to a round number not below `highest` at the top."""
    ticks = _round(highest)

    def place(value: float) -> float:
        share = min(max(value / ticks[-1], 0.0), 1.0)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    return place, [(place(tick), f"{tick:g}") for tick in ticks]


def scores(unit: str, found: Sequence[float]) -> tuple[Scale, Ticks]:
    """A scale upwards for scores: of percentages from 0 to 100; of others from 0, or from the least
    where there are negative ones, to the largest."""
    if unit == "%":
        return upwards(100.0)
    if min(found) >= 0:
        return upwards(max(found))
    lowest = _round(-min(found))[-1]
    place, ticks = upwards(max(found) + lowest)
    return (lambda value: place(value + lowest)), [
        (y, f"{float(text) - lowest:g}") for y, text in ticks
    ]


def across(highest: float) -> tuple[Scale, Ticks]:
    """The same from left to right."""
    ticks = _round(highest)

    def place(value: float) -> float:
        return LEFT + min(max(value / ticks[-1], 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    return place, [(place(tick), _short(tick)) for tick in ticks]


def _round(highest: float) -> list[float]:
    """Round numbers from 0 to the first that is not below `highest`: three to six of them."""
    fifth = max(highest, 1e-4) / 5
    power = 10.0 ** math.floor(math.log10(fifth))
    apart = next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= fifth * (1 - 1e-9))
    number = max(1, math.ceil(highest / apart - 1e-9))
    return [n * apart for n in range(number + 1)]


def between(low: float, high: float) -> list[float]:
    """Round numbers from the last that is not above `low` to the first that is not below `high`."""
    apart = _round(max(high - low, 1e-4))[1]
    first, last = math.floor(low / apart + 1e-9), math.ceil(high / apart - 1e-9)
    return [number * apart for number in range(first, max(last, first + 1) + 1)]


def labels(
    places: Sequence[Place],
    whiskers: Sequence[tuple[float | None, float | None]],
    *,
    lines: Sequence[tuple[Place, Place]],
    taken: Sequence[Box],
) -> list[Place]:
    """The middle of each number: of the places around its dot the one that covers least."""
    width, height = _LABEL
    obstacles = [*taken]
    for place, ends in zip(places, whiskers, strict=True):
        obstacles += spot(place, *ends)
    for (x1, y1), (x2, y2) in lines:
        slanted = x1 != x2 and y1 != y2
        parts = max(1, math.ceil(math.dist((x1, y1), (x2, y2)) / 6)) if slanted else 1
        xs, ys = (
            [a + (b - a) * n / parts for n in range(parts + 1)] for a, b in ((x1, x2), (y1, y2))
        )
        for (xa, xb), (ya, yb) in zip(pairwise(xs), pairwise(ys), strict=True):
            box = (min(xa, xb) - 2, min(ya, yb) - 2, max(xa, xb) + 2, max(ya, yb) + 2)
            obstacles.append(box)
    found: list[Place] = []
    for x, y in places:
        best: tuple[float, Place] | None = None
        for far in (20.0, 30.0, 42.0):
            for turn in range(12):
                angle = math.pi * (turn / 6 - 1 / 4)
                middle = x + far * 1.1 * math.cos(angle), y + far * math.sin(angle)
                box = _box(middle, width, height)
                cost = _covered(box, obstacles) + far / 100
                if box[0] < LEFT or box[2] > WIDTH or box[1] < 0 or box[3] > HEIGHT - BOTTOM:
                    cost += 1e4
                if best is None or cost < best[0] - 1e-9:
                    best = cost, middle
        assert best is not None
        found.append(best[1])
        obstacles.append(_box(best[1], width, height))
    return found


def free_corner(level: float, taken: Sequence[Box]) -> Place:
    """Where a short word about the line at this height covers least: its place in the drawing,
    left or right, above or below the line. The word is some 70 units wide at its largest."""

    def cost(place: Place) -> float:
        box = (place[0], place[1] - 16, place[0] + 70, place[1] + 4)
        return _covered(box, taken)

    sides = (LEFT + 6.0, WIDTH - RIGHT - 76.0)
    return min(((x, level + down) for down in (-6.0, 20.0) for x in sides), key=cost)


def spot(place: Place, top: float | None, bottom: float | None) -> list[Box]:
    """What a point and its whisker cover."""
    x, y = place
    boxes = [(x - DOT, y - DOT, x + DOT, y + DOT)]
    if top is not None and bottom is not None:
        boxes.append((x - 3, top, x + 3, bottom))
    return boxes


def _box(middle: Place, width: float, height: float) -> Box:
    x, y = middle
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _covered(box: Box, others: Sequence[Box]) -> float:
    """The area that a box has in common with each of the others, added up."""
    left, top, right, bottom = box
    area = 0.0
    for x1, y1, x2, y2 in others:
        if x1 < right and x2 > left and y1 < bottom and y2 > top:
            across, down = min(right, x2) - max(left, x1), min(bottom, y2) - max(top, y1)
            area += max(0.0, across) * max(0.0, down)
    return area


def path(corners: Sequence[Place]) -> str:
    """The `d` of a line through these places; empty where there are none."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners) if corners else ""


def arrow(start: Place, end: Place) -> str:
    """A line between the rims of two dots, with its head."""
    length = math.dist(start, end)
    if length < 3 * DOT:
        return ""
    ux, uy = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    tail = start[0] + ux * DOT, start[1] + uy * DOT
    tip = end[0] - ux * (DOT + 1), end[1] - uy * (DOT + 1)
    heads = [(tip[0] - 9 * ux + side * 5 * uy, tip[1] - 9 * uy - side * 5 * ux) for side in (1, -1)]
    return path([tail, tip]) + path([heads[0], tip, heads[1]])
